package driftdb

import (
	"context"
	"errors"
	"iter"
	"time"

	"github.com/driftdb/driftdb-go/internal/change"
	"github.com/driftdb/driftdb-go/internal/changelog"
	"github.com/driftdb/driftdb-go/internal/digest"
	"github.com/driftdb/driftdb-go/internal/remote"
	"github.com/driftdb/driftdb-go/internal/segment"
)

// Change is one committed change. Values are int64, float64, string, []byte or
// nil.
type Change struct {
	Sequence int64
	Tx       int64 // sequence of the first change of the same transaction
	Time     time.Time

	Table     string // "" for schema and barrier
	Operation Operation

	// Key is the row's primary key, or its rowid when the table has none: as it
	// was before an update or delete, as it is after an insert.
	Key map[string]any
	// Before and After are the row: all of it for a delete and an insert, the
	// columns that changed for an update, or all if its identity changed.
	Before, After map[string]any

	SQL    string // schema: the statement
	Reason string // barrier: why the log says nothing more here
}

// changesChunk is how many bytes of the log Changes reads at a time. Between
// two chunks it holds no connection.
const changesChunk = 1 << 20

// Changes yields the committed changes from sequence from on, oldest first, up
// to those that were committed when it came to the end. What the local log no
// longer has is read from the bucket, over the network. After an error it
// yields nothing more.
func (db *DB) Changes(ctx context.Context, from int64) iter.Seq2[Change, error] {
	return func(yield func(Change, error) bool) {
		next := max(from, 1)
		for {
			chunk, end, oldest, err := db.localChanges(ctx, next)
			if errors.Is(err, changelog.ErrTrimmed) && db.bucket != nil {
				for c, err := range history(ctx, db.bucket, next, oldest-1) {
					if err != nil {
						yield(Change{}, fail(err))
						return
					}
					if !yield(c, nil) {
						return
					}
				}
				next = oldest
				continue
			}
			if err != nil {
				yield(Change{}, fail(err))
				return
			}
			for _, c := range chunk {
				if !yield(c, nil) {
					return
				}
			}
			if end < next {
				return
			}
			next = end + 1
		}
	}
}

// localChanges reads a chunk of the local log, and says with which sequence it
// ends. With ErrTrimmed it returns the oldest sequence that the log has.
func (db *DB) localChanges(ctx context.Context, from int64) (out []Change, end, oldest int64, err error) {
	l, err := db.readers.Get(ctx)
	if err != nil {
		return nil, 0, 0, err
	}
	defer db.readers.Put(l, errReadDone)
	if err := l.Enter(); err != nil {
		return nil, 0, 0, err
	}
	defer l.Leave()
	c := l.Conn
	if err := c.Exec("BEGIN"); err != nil { // what was the oldest must not be trimmed meanwhile
		return nil, 0, 0, err
	}
	defer func() { err = db.gate.Explain(ctx, errors.Join(err, c.Exec("ROLLBACK"))) }()
	log := changelog.View(c)
	if oldest, err = log.Oldest(); err != nil {
		return nil, 0, 0, err
	}
	if from < oldest {
		return nil, 0, oldest, changelog.ErrTrimmed
	}
	first, err := log.Containing(from)
	if err != nil {
		return nil, 0, oldest, err
	}
	size := 0
	err = log.Each(first, func(t changelog.Transaction) error {
		if size >= changesChunk {
			return changelog.Stop
		}
		size += t.Size()
		end = t.Last()
		return log.Entries(t, func(sequence int64, e *change.Entry) error {
			if sequence >= from {
				out = append(out, publicChange(sequence, t.First, t.Time, e))
			}
			return ctx.Err()
		})
	})
	return out, end, oldest, err
}

// history yields the changes from to to that a bucket has; to 0 is all.
func history(ctx context.Context, b *remote.Bucket, from, to int64) iter.Seq2[Change, error] {
	return func(yield func(Change, error) bool) {
		m, err := b.Existing(ctx)
		if err != nil {
			yield(Change{}, err)
			return
		}
		start := remote.Position{Chain: segment.Genesis(m.DatabaseID)}
		for _, s := range m.Snapshots {
			if s.Sequence < from {
				start = remote.Position{Sequence: s.Sequence, Chain: s.Chain}
			}
		}
		sink := &changeSink{from: from, yield: yield}
		_, err = b.Walk(ctx, m.Manifest, start, remote.Target{Sequence: to}, sink)
		if err != nil && !errors.Is(err, errStopped) {
			yield(Change{}, err)
		}
	}
}

var errStopped = errors.New("the reader has had enough")

// changeSink collects the changes of a batch, and yields them when the batch
// is proven.
type changeSink struct {
	from  int64
	yield func(Change, error) bool
	batch []Change
}

func (s *changeSink) Begin() error    { s.batch = s.batch[:0]; return nil }
func (s *changeSink) Rollback() error { return nil }

func (s *changeSink) Apply(r *segment.Record) error {
	if r.Sequence >= s.from {
		s.batch = append(s.batch, publicChange(r.Sequence, r.Tx, r.Time, &r.Entry))
	}
	return nil
}

func (s *changeSink) Commit(remote.Position, digest.Report) error {
	for _, c := range s.batch {
		if !s.yield(c, nil) {
			return errStopped
		}
	}
	return nil
}

func publicChange(sequence, tx, ms int64, e *change.Entry) Change {
	c := Change{
		Sequence: sequence, Tx: tx, Time: time.UnixMilli(ms),
		Table: e.Table, Operation: Operation(e.Op.String()), SQL: e.SQL, Reason: e.Reason,
		Before: values(e.Before), After: values(e.After),
	}
	switch {
	case len(e.Key) > 0:
		c.Key = values(e.Key)
	case e.HasRowID:
		c.Key = map[string]any{"rowid": e.RowID}
	}
	return c
}

func values(columns []change.Column) map[string]any {
	if len(columns) == 0 {
		return nil
	}
	out := make(map[string]any, len(columns))
	for _, c := range columns {
		switch v := c.Value; v.Kind {
		case change.Integer:
			out[c.Name] = v.Int
		case change.Real:
			out[c.Name] = v.Real
		case change.Text:
			out[c.Name] = string(v.Bytes)
		case change.Blob:
			out[c.Name] = append([]byte{}, v.Bytes...)
		default:
			out[c.Name] = nil
		}
	}
	return out
}
