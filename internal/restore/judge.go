package restore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/driftdb/driftdb-go/internal/apply"
	"github.com/driftdb/driftdb-go/internal/check"
	"github.com/driftdb/driftdb-go/internal/dbfile"
	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// What SQLite finds wrong with a restored file is either the source's, and then the
// file must have it, or it came about on the way, and then the file is not what was
// backed up.
//
// Most faults follow from what the tables hold: a row that breaks a constraint, a
// missing parent, a search index that does not fit its text. The digests prove that to
// be the source's. What a program cannot read is a matter of that program. The trees of
// pages remain, of tables and of indexes: no digest covers them. A fault of theirs is
// the source's if the snapshot has it, whose hash proves that it is the source's file.
// What is replayed on top may spread such a fault within its table, as it did in the
// source, and no further.

// judge is ErrDamaged if a restored file has a fault that was not the source's.
func (j *job) judge(ctx context.Context, found check.Report) error {
	doubtful := slices.DeleteFunc(slices.Clone(found.Faults), func(f check.Fault) bool { return !structural(f) || j.told(f) })
	if len(doubtful) == 0 {
		return nil
	}
	source, err := j.source(ctx)
	if err != nil {
		return err
	}
	doubtful = slices.DeleteFunc(doubtful, func(f check.Fault) bool {
		return slices.ContainsFunc(source, func(s check.Fault) bool { return spreads(s, f) })
	})
	if len(doubtful) == 0 {
		return nil
	}
	return fmt.Errorf("%w: %s", ErrDamaged, strings.Join(check.List(check.ByTable(doubtful)), "; "))
}

func structural(f check.Fault) bool { return f.Kind == check.Damage || f.Kind == check.Index }

// told says that the snapshot's writer has found this very fault, too.
func (j *job) told(f check.Fault) bool {
	return j.from != nil && slices.Contains(j.from.Faults[f.Table], f.What)
}

// spreads says that a file with the fault from may come to have the other one by
// changes of its rows.
func spreads(from, to check.Fault) bool {
	switch from.Kind {
	case check.Damage: // of the list of free pages, if it is not a table's: any may be taken from it
		return from.Table == to.Table || from.Table == ""
	case check.Index:
		return from.Table == to.Table && to.Kind == check.Index
	}
	return false
}

// source is what is wrong with the snapshot that the replay began with.
func (j *job) source(ctx context.Context) (_ []check.Fault, err error) {
	if j.from == nil {
		return nil, nil
	}
	work, err := dbfile.NewWork(j.opts.File.Path())
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, work.Close()) }()
	if err := j.fetch(ctx, *j.from, work.Path()); err != nil {
		return nil, err
	}
	c, err := new(sqlite.Driver).Open(work.Path(), sqlite.Options{KeepJournal: true, QueryOnly: true, Distrust: true, OnConnect: j.opts.OnConnect})
	if err != nil {
		return nil, damaged(err)
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	r, err := check.Run(ctx, c, check.Options{})
	return r.Faults, damaged(err)
}

// damaged says of an error that the data is, if it says so itself: SQLite finds that the
// file contradicts itself, or the log has what no log can have.
func damaged(err error) error {
	if sqlite.IsNotDatabase(err) || errors.Is(err, apply.ErrForged) {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return err
}
