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

// A fault that SQLite finds in a restored file is either the source's, and then the file
// must have it, or it arose on the way, and then the file is not what was backed up.
//
// Most faults follow from the contents of the tables: a row that breaks a constraint, a
// missing parent, a search index that does not fit its text. The digests prove that these
// are the source's. What a program cannot read depends on that program. This leaves the
// b-trees of tables and indexes, which no digest covers. A fault in one of them is the
// source's if the snapshot has it, whose hash proves that it is the source's file.
// Replaying changes on top may spread such a fault within its table, as it did in the
// source, but no further.

// judge returns ErrDamaged if a restored file has a fault that was not the source's.
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

// told reports whether the snapshot's writer found this very fault, too.
func (j *job) told(f check.Fault) bool {
	return j.from != nil && slices.Contains(j.from.Faults[f.Table], f.What)
}

// spreads reports whether changes to rows can turn the fault from into the fault to.
func spreads(from, to check.Fault) bool {
	switch from.Kind {
	case check.Damage: // damage without a table is the freelist's, from which any table may take pages
		return from.Table == to.Table || from.Table == ""
	case check.Index:
		return from.Table == to.Table && to.Kind == check.Index
	}
	return false
}

// source returns the faults of the snapshot that the replay began with.
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

// damaged wraps err in ErrDamaged if it means that the data is damaged: SQLite finds that
// the file contradicts itself, or the log has an impossible entry.
func damaged(err error) error {
	if sqlite.IsNotDatabase(err) || errors.Is(err, apply.ErrForged) {
		return fmt.Errorf("%w: %w", ErrDamaged, err)
	}
	return err
}
