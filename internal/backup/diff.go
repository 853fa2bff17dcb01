package backup

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/driftdb/driftdb-go/internal/change"
	"github.com/driftdb/driftdb-go/internal/dbfile"
	"github.com/driftdb/driftdb-go/internal/ddl"
	"github.com/driftdb/driftdb-go/internal/diff"
	"github.com/driftdb/driftdb-go/internal/history"
	"github.com/driftdb/driftdb-go/internal/remote"
	"github.com/driftdb/driftdb-go/internal/restore"
	"github.com/driftdb/driftdb-go/internal/sqlite"
	"github.com/driftdb/driftdb-go/internal/statement"
)

// Diff yields the net differences between two points, from the log between them. If that
// does not show them, it yields a barrier first, which says why, and then compares restored
// copies.
func Diff[T any](ctx context.Context, b *Backup, from, to restore.Target, inSteps bool, convert func(history.Change) T) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		stopped := false
		err := b.diff(ctx, from, to, inSteps, func(c history.Change) error {
			if stopped = !yield(convert(c), nil); stopped {
				return errStopped
			}
			return nil
		})
		if err != nil && !stopped {
			var none T
			yield(none, fmt.Errorf("differences of %s: %w", b.cfg.Name, err))
		}
	}
}

var errStopped = errors.New("no more differences are wanted")

func (b *Backup) diff(ctx context.Context, from, to restore.Target, inSteps bool, yield func(history.Change) error) error {
	if b.bucket == nil {
		return ErrNoStore
	}
	stored, err := b.bucket.Existing(ctx)
	if err != nil {
		return err
	}
	var at [2]int64
	for i, target := range []restore.Target{from, to} {
		if at[i], err = b.locate(ctx, stored.Manifest, target); err != nil {
			return err
		}
	}
	if at[0] == at[1] {
		return nil
	}
	err = b.folded(ctx, at[0], at[1], inSteps, yield)
	if !errors.Is(err, diff.ErrUnclear) {
		return err
	}
	if err := yield(history.Change{Entry: &change.Entry{Op: change.Barrier, Reason: err.Error()}}); err != nil {
		return err
	}
	return b.compared(ctx, at[0], at[1], inSteps, yield)
}

// locate returns the sequence with which the state at a target ends.
func (b *Backup) locate(ctx context.Context, m *remote.Manifest, at restore.Target) (sequence int64, err error) {
	switch {
	case at.Time != 0:
		sequence, _, err = b.bucket.Locate(ctx, m, at.Time)
	case at.Sequence == 0 || at.Sequence > m.LatestSequence:
		var tips remote.Tips
		tips, err = b.bucket.Tips(ctx, m)
		if sequence = tips.Near.Sequence; err == nil && at.Sequence > sequence {
			err = fmt.Errorf("%w: sequence %d was asked for", restore.ErrNoPoint, at.Sequence)
		} else if err == nil && at.Sequence != 0 {
			sequence, err = b.transactionEnd(ctx, m, at.Sequence)
		}
	default:
		sequence, err = b.transactionEnd(ctx, m, at.Sequence)
	}
	if err == nil && at.Sequence != 0 && (sequence == 0 || sequence < m.Begins()) {
		err = fmt.Errorf("%w: sequence %d was asked for", remote.ErrTooOld, at.Sequence)
	}
	if errors.Is(err, remote.ErrTooOld) || errors.Is(err, restore.ErrNoPoint) {
		err = b.bucket.Outside(ctx, m, err)
	}
	return sequence, err
}

// transactionEnd returns the last end of a transaction that is not after sequence.
func (b *Backup) transactionEnd(ctx context.Context, m *remote.Manifest, sequence int64) (int64, error) {
	if sequence <= m.Begins() || sequence == m.LatestSequence {
		return sequence, nil
	}
	q := history.Query{From: sequence, To: sequence + 1}
	for c, err := range history.Bucket(ctx, b.bucket, q, func(c history.Change) history.Change { return c }, b.cfg.Log) {
		if err != nil {
			return 0, err
		}
		if c.Sequence > sequence && c.Tx <= sequence {
			return c.Tx - 1, nil
		}
	}
	return sequence, nil
}

// folded yields the differences that the log shows.
func (b *Backup) folded(ctx context.Context, from, to int64, inSteps bool, yield func(history.Change) error) (err error) {
	work, err := dbfile.NewTemp()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, work.Close()) }()
	fold, err := diff.NewFold(work.Path())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, fold.Close()) }()
	reversed := from > to
	q := history.Query{From: min(from, to) + 1, To: max(from, to)}
	next := q.From
	for c, err := range history.Bucket(ctx, b.bucket, q, clone, b.cfg.Log) {
		if err != nil {
			return err
		}
		if c.Sequence != next {
			return fmt.Errorf("%w: there is no change %d in the log", diff.ErrUnclear, next)
		}
		next = c.Sequence + c.Entry.Width()
		if err := fold.Add(c); err != nil {
			return err
		}
	}
	if next <= q.To {
		return fmt.Errorf("%w: the log ends with change %d", remote.ErrCorrupt, next-1)
	}
	if err := fold.Settle(reversed); err != nil {
		return err
	}
	for c, err := range fold.Changes(ctx, reversed, inSteps) {
		if err == nil {
			err = yield(c)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// clone copies a change, whose entry is valid only during the call.
func clone(c history.Change) history.Change {
	e := *c.Entry
	for _, row := range []*[]change.Column{&e.Key, &e.Before, &e.After} {
		*row = slices.Clone(*row)
		for i := range *row {
			(*row)[i].Value.Bytes = bytes.Clone((*row)[i].Value.Bytes)
		}
	}
	c.Entry = &e
	return c
}

// compared yields the differences between restored copies.
func (b *Backup) compared(ctx context.Context, from, to int64, inSteps bool, yield func(history.Change) error) (err error) {
	first, err := b.copyAt(ctx, from)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, first.close()) }()
	second, err := b.copyAt(ctx, to)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, second.close()) }()
	return diff.Compare(ctx, first.c, second.c, inSteps, func(e *change.Entry) error {
		return yield(history.Change{Sequence: to, Time: second.time, Entry: e})
	})
}

// restored is a restored copy that is not kept.
type restored struct {
	file *dbfile.File
	c    *sqlite.Conn
	time int64 // of its last change
}

func (b *Backup) copyAt(ctx context.Context, sequence int64) (*restored, error) {
	file, res, err := b.Temporary(ctx, restore.Options{Target: restore.Target{Sequence: sequence}})
	if err != nil {
		return nil, err
	}
	c, err := sqlite.Open(file.Path(), sqlite.Options{
		MustExist: true, KeepJournal: true, Distrust: true, Synchronous: sqlite.SyncOff, OnConnect: b.cfg.Connect(ctx),
	})
	if err != nil {
		return nil, errors.Join(err, file.Release())
	}
	return &restored{file, c, res.Time}, nil
}

func (r *restored) close() error { return errors.Join(r.c.Close(), r.file.Release()) }

// DiffSQL yields the differences as the lines of a script for the sqlite3 shell, in one
// transaction; nothing if there are none. Table, if it is not empty, selects a table's rows.
func DiffSQL(ctx context.Context, b *Backup, from, to restore.Target, table string) iter.Seq2[string, error] {
	return func(yield func(string, error) bool) {
		begun := false
		for c, err := range Diff(ctx, b, from, to, true, func(c history.Change) history.Change { return c }) {
			switch {
			case err != nil:
				yield("", err)
				return
			case c.Entry.Op == change.Barrier:
				if !yield("-- two restored copies were compared: "+strings.Join(strings.Fields(c.Entry.Reason), " "), nil) {
					return
				}
				continue
			case table != "" && ddl.Fold(c.Entry.Table) != ddl.Fold(table):
				continue
			case !begun && !yield(statement.Preamble+"BEGIN;", nil):
				return
			}
			begun = true
			if !yield(statementOf(c.Entry), nil) {
				return
			}
		}
		if begun {
			yield("COMMIT;", nil)
		}
	}
}

// statementOf returns the statement of a net change. An update that finds another row in its
// way must fail, even if the table says otherwise.
func statementOf(e *change.Entry) string {
	sql := statement.SQL(e)
	if e.Op == change.Update && e.Table != change.SequenceTable {
		sql = strings.Replace(sql, "UPDATE ", "UPDATE OR ABORT ", 1)
	}
	return sql
}
