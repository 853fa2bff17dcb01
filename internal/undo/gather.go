package undo

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"github.com/driftdb/driftdb-go/internal/change"
	"github.com/driftdb/driftdb-go/internal/changelog"
	"github.com/driftdb/driftdb-go/internal/consume"
	"github.com/driftdb/driftdb-go/internal/history"
	"github.com/driftdb/driftdb-go/internal/remote"
	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// chunkBytes is how much of the log is read in one read transaction.
const chunkBytes = 4 << 20

// trimmed is the error for changes that are not in the file's log any more.
type trimmed struct{ next, oldest int64 }

func (e *trimmed) Error() string {
	return fmt.Sprintf("change %d is no longer in the file, whose log begins at change %d", e.next, e.oldest)
}

// gather reads the range, and what came after it, up to the end of the log.
func (j *job) gather(ctx context.Context) error {
	for {
		more := false
		err := j.db.Log.Read(ctx, func(c *sqlite.Conn) (err error) {
			if j.next == 0 {
				if err := j.begin(c); err != nil {
					return err
				}
			}
			more, err = j.readLog(ctx, c, chunkBytes)
			return err
		})
		if gone, ok := errors.AsType[*trimmed](err); ok {
			err, more = j.readBucket(ctx, gone), true
		}
		if err != nil || !more {
			return err
		}
	}
}

// begin finds where to begin.
func (j *job) begin(c *sqlite.Conn) error {
	log := changelog.View(c)
	last, err := log.Last()
	if err != nil {
		return err
	}
	if j.o.To > last {
		millis, err := log.LastTime()
		return errors.Join(err, fmt.Errorf("there is no change %d yet: the last one is %s", j.o.To, remote.Extreme{Sequence: last, Time: millis}))
	}
	if err := j.layout.read(c); err != nil {
		return err
	}
	if j.o.Table != "" && !j.layout.has(j.o.Table) {
		return fmt.Errorf("there is no table %s", j.o.Table)
	}
	if j.o.Key != nil && j.layout.virtual[strings.ToLower(j.o.Table)] != nil {
		return fmt.Errorf("table %s is virtual, and its rows are in other tables: undo all of it, without a key", j.o.Table)
	}
	j.next = j.o.From
	return nil
}

// readLog reads about limit bytes of the log; all of it if limit is 0. It reports whether
// there is more.
func (j *job) readLog(ctx context.Context, c *sqlite.Conn, limit int) (more bool, err error) {
	log := changelog.View(c)
	oldest, err := log.Oldest()
	if err != nil {
		return false, err
	}
	if j.next < oldest {
		return false, &trimmed{j.next, oldest}
	}
	// Meanwhile a barrier may have replaced what was to be read next, and what was before it.
	start, err := log.Containing(j.next)
	if err != nil {
		return false, err
	}
	size := 0
	err = log.Each(start, func(t changelog.Transaction) error {
		if limit > 0 && size >= limit {
			more = true
			return changelog.Stop
		}
		size += t.Size()
		n := 0
		if err := log.Entries(t, func(sequence int64, e *change.Entry) error {
			if n++; n%1000 == 0 && ctx.Err() != nil {
				return context.Cause(ctx)
			}
			return j.take(at{sequence, t.First, t.Time}, e)
		}); err != nil {
			return err
		}
		j.next = t.Last() + 1
		return ctx.Err()
	})
	return more, err
}

// readRest reads the log to its end, under the write lock.
func (j *job) readRest(ctx context.Context) error {
	if _, err := j.readLog(ctx, j.c.Conn, 0); err != nil {
		return err
	}
	last, err := changelog.Last(j.c.Conn)
	if err == nil && j.next != last+1 {
		err = fmt.Errorf("the log was read up to change %d, and ends at %d", j.next-1, last)
	}
	return err
}

// readBucket reads from the bucket what the file's log no longer has.
func (j *job) readBucket(ctx context.Context, gone *trimmed) error {
	if j.db.Log.Bucket == nil {
		return fmt.Errorf("%w; there is no store that could have it", gone)
	}
	names := new(names)
	start := j.next
	for again := true; again; {
		again = false
		q := history.Query{From: start, To: gone.oldest - 1}
		for p, err := range history.Bucket(ctx, j.db.Log.Bucket, q, func(c history.Change) parcel { return pack(names, c) }, j.db.Log.Logger) {
			if err != nil {
				return j.outside(ctx, err)
			}
			if j.seen == 0 && p.tx < j.next { // the range begins within this transaction
				start, j.next, again = p.tx, p.tx, true
				break
			}
			if p.sequence != j.next {
				return fmt.Errorf("change %d is neither in the file nor in the bucket any more: the first that is kept is %s", j.next, remote.Extreme{Sequence: p.sequence, Time: p.millis})
			}
			e, err := p.unpack(names)
			if err != nil {
				return err
			}
			if err := j.take(p.at, e); err != nil {
				return err
			}
			j.next += e.Width()
		}
	}
	if j.next != gone.oldest {
		return fmt.Errorf("change %d is neither in the file nor in the bucket", j.next)
	}
	return nil
}

// outside adds to the error of a bucket that does not reach back that far what it has.
func (j *job) outside(ctx context.Context, err error) error {
	if !errors.Is(err, remote.ErrTooOld) {
		return err
	}
	stored, why := j.db.Log.Bucket.Existing(ctx)
	if why != nil {
		return err // it is the one that matters
	}
	return j.db.Log.Bucket.Outside(ctx, stored.Manifest, err)
}

// take takes in one change.
func (j *job) take(where at, e *change.Entry) error {
	moment := now
	if where.tx <= j.o.To {
		moment = made
		if j.seen != where.tx {
			j.res.Transactions++
			j.seen = where.tx
		}
		if j.res.From == 0 {
			j.res.From = where.tx
		}
		j.res.To = where.sequence + e.Width() - 1
	}
	switch {
	case e.Op == change.Barrier:
		j.barriers = append(j.barriers, definition{at: where, text: e.Reason})
	case e.Op == change.Schema:
		j.define(moment, where, e.SQL)
	case e.Table == change.SequenceTable, strings.HasPrefix(e.Table, "sqlite_stat"):
		// A counter never goes back, so that no number is given twice. Statistics are no data.
	case j.o.Table == "" && history.SameName(e.Table, consume.Table):
		// What a consumer has handled stays handled.
	case j.wants(e.Table):
		return j.net.add(moment, where, e)
	}
	return nil
}

// parcel is a change from the bucket, in little memory: a batch may have a million of them.
type parcel struct {
	at
	op    change.Op
	rowid bool
	b     []byte
}

func pack(n *names, c history.Change) parcel {
	e := c.Entry
	b := binary.AppendUvarint(nil, uint64(n.of(e.Table)))
	for _, v := range []int64{e.RowID, e.NewRowID, e.Count} {
		b = binary.AppendVarint(b, v)
	}
	for _, row := range [][]change.Column{e.Key, e.After, e.Before} {
		b = n.append(b, row)
	}
	for _, text := range []string{e.SQL, e.Reason} {
		b = append(binary.AppendUvarint(b, uint64(len(text))), text...)
	}
	return parcel{at{c.Sequence, c.Tx, c.Time}, e.Op, e.HasRowID, b}
}

func (p *parcel) unpack(n *names) (*change.Entry, error) {
	r := reader{b: p.b}
	e := &change.Entry{Op: p.op, HasRowID: p.rowid}
	if i := r.count(); i < len(n.list) {
		e.Table = n.list[i]
	}
	e.RowID, e.NewRowID, e.Count = r.int(), r.int(), r.int()
	e.Key, e.After, e.Before = r.columns(n), r.columns(n), r.columns(n)
	e.SQL, e.Reason = string(r.bytes()), string(r.bytes())
	return e, r.err
}
