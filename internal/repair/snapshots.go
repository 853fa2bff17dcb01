package repair

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/driftdb/driftdb-go/internal/changelog"
	"github.com/driftdb/driftdb-go/internal/check"
	"github.com/driftdb/driftdb-go/internal/dbfile"
	"github.com/driftdb/driftdb-go/internal/remote"
	"github.com/driftdb/driftdb-go/internal/restore"
	"github.com/driftdb/driftdb-go/internal/sqlite"
	lib "modernc.org/sqlite/lib"
)

// snapshot is a snapshot that no manifest names and whose rows have been read.
type snapshot struct {
	remote.Taken
	says       *remote.Position // its position by its own DriftDB tables; nil if it has none
	told       int64            // its last change by the database's file; -1 if that does not say
	candidates []candidate      // where it may belong, in order
	placed     bool
}

// said reports whether the snapshot itself or the database's file gives its place.
func (s *snapshot) said() bool { return s.says != nil || s.told >= 0 }

// look reads a snapshot. A damaged one is left out.
func (r *repair) look(ctx context.Context, s remote.Taken) (err error) {
	work, err := dbfile.NewTemp()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, work.Close()) }()
	read := &snapshot{Taken: s, told: -1}
	if k := r.o.Known; k != nil && k.Snapshot >= 0 && k.SnapshotSize == s.Size && r.newest(s) {
		read.told = k.Snapshot
	}
	err = r.fetch(ctx, &read.Snapshot, work.Path())
	for again := 2; again > 0 && remote.IsDamage(err); again-- {
		err = r.fetch(ctx, &read.Snapshot, work.Path()) // it may have been corrupted in transit
	}
	if err == nil {
		err = r.open(ctx, read, work.Path())
	}
	switch {
	case err == nil:
		r.snapshots = append(r.snapshots, read)
	case remote.IsDamage(err), sqlite.IsNotDatabase(err), remote.Refusal{Why: err}.Locked():
		r.left, err = append(r.left, remote.Refusal{Key: s.Key, Why: err}), nil
	}
	return err
}

// newest reports whether no snapshot is newer than s.
func (r *repair) newest(s remote.Taken) bool {
	return !slices.ContainsFunc(r.survey.Snapshots, func(o remote.Taken) bool { return o.Time > s.Time })
}

func (r *repair) fetch(ctx context.Context, s *remote.Snapshot, path string) (err error) {
	f, err := os.OpenFile(path, os.O_TRUNC|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	return r.b.Unnamed(ctx, r.id, s, f)
}

// open reads the rows of a snapshot, and what it says of itself.
func (r *repair) open(ctx context.Context, s *snapshot, path string) (err error) {
	c, err := new(sqlite.Driver).Open(path, sqlite.Options{MustExist: true, KeepJournal: true, QueryOnly: true, Distrust: true, OnConnect: r.o.OnConnect})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	found, err := check.Run(ctx, c, check.Options{})
	if err != nil {
		return err
	}
	s.Digests = found.Digests
	if whole, err := changelog.Exists(c); err != nil || !whole {
		return err
	}
	// It is an exact copy of the live file.
	known, last, err := read(c)
	if err != nil {
		return err
	}
	if known.DatabaseID != r.id {
		return fmt.Errorf("%w: it belongs to database %s", remote.ErrCorrupt, known.DatabaseID)
	}
	s.says = &last
	return nil
}

// Read returns what c's database says of itself and its bucket.
func Read(c *sqlite.Conn) (*Known, error) {
	known, _, err := read(c)
	return known, err
}

// read also returns the end of the log.
func read(c *sqlite.Conn) (*Known, remote.Position, error) {
	var last remote.Position
	if err := changelog.CheckFormat(c); err != nil {
		return nil, last, err
	}
	id, err := changelog.ReadIdentity(c)
	if err != nil {
		return nil, last, err
	}
	log := changelog.View(c)
	books, err := log.Books()
	if err != nil {
		return nil, last, err
	}
	digests, err := log.Digests()
	if err != nil {
		return nil, last, err
	}
	if last.Sequence, err = log.Last(); err != nil {
		return nil, last, err
	}
	last.Chain, err = log.ChainAt(books.Acked, books.Chain, last.Sequence)
	return &Known{
		DatabaseID: id.DatabaseID, At: remote.Position{Sequence: books.Acked, Chain: books.Chain}, Digests: digests.Known,
		Snapshot: books.Snapshot, SnapshotSize: books.SnapshotBytes,
	}, last, err
}

// place finds the place of each snapshot on p, and returns the snapshots that have one,
// oldest first. A snapshot is proven by its digests at that place and by a restore from
// it up to the next snapshot, or to the end. If the rows are the same at several places,
// the right one is the first from which the log can be replayed: what the replay then
// repeats is what the snapshot has.
func (r *repair) place(ctx context.Context, p path, barriers []int64) (placed []remote.Snapshot, err error) {
	able := slices.DeleteFunc(slices.Clone(r.snapshots), func(s *snapshot) bool { s.placed = false; return len(s.candidates) == 0 })
	slices.SortStableFunc(able, func(x, y *snapshot) int {
		return cmp.Or(cmp.Compare(x.candidates[0].sequence, y.candidates[0].sequence), cmp.Compare(x.Time, y.Time))
	})
	to := p.end.Sequence
	for _, s := range slices.Backward(able) {
		if err := r.settle(ctx, p, s, barriers, to); err != nil {
			return nil, err
		}
		if s.placed {
			placed, to = append(placed, s.Snapshot), s.Sequence
		}
	}
	slices.Reverse(placed)
	return placed, nil
}

// most is how many places are tried for a snapshot.
const most = 8

// settle tries the places of s, restoring each time up to change to or to the first
// barrier.
func (r *repair) settle(ctx context.Context, p path, s *snapshot, barriers []int64, to int64) error {
	for _, c := range s.candidates[:min(most, len(s.candidates))] {
		at, err := r.at(ctx, p, c)
		if err != nil {
			return err
		}
		s.Sequence, s.Chain, s.Changed = at.Sequence, at.Chain, c.time
		to := max(before(barriers, at.Sequence, to), at.Sequence)
		_, err = r.prove(ctx, r.manifest(p, []remote.Snapshot{s.Snapshot}), to)
		if err == nil || !misfits(err) {
			s.placed = err == nil
			return err
		}
	}
	return nil
}

// misfits reports whether a restore failed because of what was to be restored, and not
// because of its environment.
func misfits(err error) bool {
	for _, is := range []error{restore.ErrDamaged, restore.ErrBarrier, restore.ErrNoPoint} {
		if errors.Is(err, is) {
			return true
		}
	}
	if _, ok := errors.AsType[restore.MisfitError](err); !ok {
		return remote.IsDamage(err)
	}
	switch sqlite.Code(err) & 0xff {
	case lib.SQLITE_FULL, lib.SQLITE_IOERR, lib.SQLITE_NOMEM, lib.SQLITE_INTERRUPT, lib.SQLITE_CANTOPEN:
		return false
	}
	return !errors.Is(err, restore.ErrMissing)
}

// at returns the position of c on p.
func (r *repair) at(ctx context.Context, p path, c candidate) (remote.Position, error) {
	if c.sequence == c.from.Sequence {
		return c.from, nil
	}
	end, err := r.b.Walk(ctx, r.manifest(p, nil), c.from, remote.Target{Sequence: c.sequence}, nil)
	return end.Position, err
}

// prove restores what m describes up to a change, or all of it if to is 0, to a temporary
// file.
func (r *repair) prove(ctx context.Context, m *remote.Manifest, to int64) (res restore.Result, err error) {
	work, err := dbfile.NewTemp()
	if err != nil {
		return res, err
	}
	defer func() { err = errors.Join(err, work.Close()) }()
	file, err := dbfile.Take(work.Path())
	if err != nil {
		return res, err
	}
	defer func() { err = errors.Join(err, file.Abandon()) }()
	res, err = restore.Run(ctx, r.b, restore.Options{File: file, Overwrite: true, Manifest: m, Target: restore.Target{Sequence: to}, OnConnect: r.o.OnConnect})
	if err == nil && len(res.Damaged) > 0 {
		err = fmt.Errorf("%w: snapshot %s", restore.ErrDamaged, res.Damaged[0])
	}
	return res, err
}
