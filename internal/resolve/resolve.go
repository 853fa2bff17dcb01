// Package resolve merges a file and a bucket that have diverged into one history: the
// bucket's, with the file's own changes on top.
//
// It compares three states: the last common one, the file, and the bucket's latest. How a
// side came to its state does not matter, so changes that the log cannot record, or no
// longer holds, are found all the same.
package resolve

import (
	"context"
	"errors"
	"fmt"

	"github.com/driftdb/driftdb-go/internal/capture"
	"github.com/driftdb/driftdb-go/internal/changelog"
	"github.com/driftdb/driftdb-go/internal/dbfile"
	"github.com/driftdb/driftdb-go/internal/digest"
	"github.com/driftdb/driftdb-go/internal/remote"
	"github.com/driftdb/driftdb-go/internal/restore"
	"github.com/driftdb/driftdb-go/internal/sqlite"
	"github.com/driftdb/driftdb-go/internal/syncer"
	lib "modernc.org/sqlite/lib"
)

// ErrConflict means that there are conflicts for which no side has been chosen. Nothing
// was changed.
var ErrConflict = errors.New("changes in the file and in the bucket conflict")

// Options says what to merge, and which side wins.
type Options struct {
	File      *dbfile.File // the path of the database, taken (see dbfile.Take)
	Choose    func(table string) Side
	DryRun    bool
	OnConnect func(*sqlite.Registrar) error
	Progress  func(restore.Progress)
}

// Result is what was found and done.
type Result struct {
	Diverged bool // if false, the file and the bucket agree, and there is nothing to do

	Common, Latest int64 // sequences of the last common change and of the bucket's last change
	Ours, Theirs   []Change
	Conflicts      []*Conflict

	Applied  int    // how many of the file's changes are in the new file
	Branch   string // the branch under which the bucket keeps the old file's contents
	Sequence int64  // of the new file's last change
	Resolved bool   // the file has been replaced
}

// Undecided is the number of conflicts for which no side has been chosen.
func (r *Result) Undecided() (n int) {
	for _, c := range r.Conflicts {
		if c.Choice == "" {
			n++
		}
	}
	return n
}

// job is one run.
type job struct {
	b    *remote.Bucket
	opts Options
	c    *sqlite.Conn // to the file
	file syncer.File
	m    *remote.Manifest
	at   remote.Position // the common point
	res  Result

	base, theirs *dbfile.Work
}

// Run resolves a divergence. Whenever it ends, the path has the old file or the new one.
// Before the new file is put there, the bucket has the old one's contents as a branch.
func Run(ctx context.Context, b *remote.Bucket, opts Options) (_ Result, err error) {
	j := &job{b: b, opts: opts}
	defer func() {
		if ctx.Err() != nil && sqlite.IsInterrupted(err) {
			err = context.Cause(ctx)
		}
	}()
	if err := opts.File.Free(true); err != nil {
		return j.res, err
	}
	if err := j.open(ctx); err != nil {
		return j.res, errors.Join(err, j.close())
	}
	err = j.run(ctx)
	return j.res, errors.Join(err, j.close())
}

// open opens the file and keeps it locked from then on.
func (j *job) open(ctx context.Context) (err error) {
	f := j.opts.File
	if _, err := dbfile.SetAside(f.Path()); err != nil {
		return err
	}
	j.c, err = sqlite.Open(f.Path(), sqlite.Options{MustExist: true, KeepJournal: true, Claim: f.Hold, OnConnect: j.opts.OnConnect})
	if err != nil {
		f.Forget()
		return f.Explain(err)
	}
	if err := j.c.KeepWAL(true); err != nil { // if the run fails, the file is left as it was
		return err
	}
	j.file, err = syncer.Look(j.c, false)
	switch name := j.file.Identity.Name; {
	case err != nil:
		return err
	case j.file.Log == nil:
		return fmt.Errorf("%s is not a DriftDB database: there is nothing to resolve", f.Path())
	case j.file.Identity.Follower: // it has no changes of its own to merge
		return changelog.ErrFollower
	case name != "" && name != j.b.Name():
		return fmt.Errorf("the file belongs to the database %q, not to %q", name, j.b.Name())
	}
	return nil
}

func (j *job) run(ctx context.Context) error {
	stored, err := j.b.Manifest(ctx)
	if err != nil {
		return err
	}
	j.m = stored.Manifest
	_, err = syncer.Compare(ctx, j.b, j.file, false)
	switch {
	case err == nil, errors.Is(err, restore.ErrCannotCatchUp):
		return nil
	case !errors.Is(err, syncer.ErrDiverged), j.m.DatabaseID != j.file.Identity.DatabaseID:
		return err
	}
	j.res.Diverged = true
	if j.at, err = common(ctx, j.b, j.m, j.file); err == nil {
		err = j.build(ctx)
	}
	for _, gone := range []error{ErrNoCommon, remote.ErrTooOld, restore.ErrNoPoint} {
		if errors.Is(err, gone) {
			return fmt.Errorf("%w. Nothing was changed. %s", err, otherWays)
		}
	}
	if err != nil {
		return err
	}
	if j.opts.DryRun {
		return nil
	}
	if n := j.res.Undecided(); n > 0 {
		return fmt.Errorf("%w: %d of %d have no chosen side; nothing was changed", ErrConflict, n, len(j.res.Conflicts))
	}
	if j.res.Branch, err = keep(ctx, j.b, j.c, j.file, j.at, j.m.Epoch, j.opts.File.Path()); err != nil {
		return fmt.Errorf("store the file's own history as a branch: %w", err)
	}
	return j.replace()
}

// otherWays tells what to do if the common point is gone.
const otherWays = "A restore writes what the bucket has to another file, to compare the two by hand; Detach lets this one begin a backup of its own, under another name"

// replace replaces the old file with the merged one.
func (j *job) replace() error {
	f := j.opts.File
	if err := j.letGo(); err != nil {
		return err
	}
	// What the old file has is a branch of the bucket by now.
	if _, err := f.Replace(j.theirs, false); err != nil {
		return err
	}
	j.res.Resolved = true
	return nil
}

// letGo closes the file.
func (j *job) letGo() error {
	if j.c == nil {
		return nil
	}
	c := j.c
	j.c = nil
	return errors.Join(j.opts.File.Unhold(), c.Close())
}

func (j *job) close() error {
	err := j.letGo()
	for _, w := range []*dbfile.Work{j.base, j.theirs} {
		if w != nil {
			err = errors.Join(err, w.Close())
		}
	}
	return err
}

// build restores the bucket at the common point and at its latest, and merges the file's
// changes into the latter.
func (j *job) build(ctx context.Context) (err error) {
	if j.theirs, err = dbfile.NewWork(j.opts.File.Path()); err != nil {
		return err
	}
	latest, err := j.restore(ctx, j.theirs, restore.Target{}, j.continued)
	if err != nil {
		return err
	}
	j.res.Latest, j.res.Common = latest, min(j.at.Sequence, latest)
	if j.base, err = dbfile.NewWork(j.opts.File.Path()); err != nil {
		return err
	}
	if j.res.Common > 0 {
		at, err := j.restore(ctx, j.base, restore.Target{Sequence: j.res.Common}, nil)
		if err != nil {
			return fmt.Errorf("restore the last common point, change %d, to compare both sides: %w", j.res.Common, err)
		}
		if at != j.res.Common {
			return fmt.Errorf("%w: the bucket can no longer be restored to change %d, only to %d", ErrNoCommon, j.res.Common, at)
		}
	}
	return j.merge(ctx)
}

// restore restores the bucket to a working folder, and returns the sequence of its last
// change.
func (j *job) restore(ctx context.Context, to *dbfile.Work, target restore.Target, finish finisher) (_ int64, err error) {
	place, err := dbfile.Take(to.Path())
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, place.Release()) }()
	res, err := restore.Run(ctx, j.b, restore.Options{
		File: place, Overwrite: true, Target: target, OnConnect: j.opts.OnConnect, Progress: j.opts.Progress, Finish: finish,
	})
	return res.Sequence, err
}

type finisher = func(c *sqlite.Conn, m *remote.Manifest, at remote.Position, last int64, sums digest.Set) error

// continued makes a restored database the continuation of the bucket's history, under the
// file's own node id.
func (j *job) continued(c *sqlite.Conn, m *remote.Manifest, at remote.Position, last int64, sums digest.Set) error {
	id := j.file.Identity
	if m.DatabaseID != id.DatabaseID {
		return fmt.Errorf("%w: the bucket now holds another database", syncer.ErrDiverged)
	}
	b := changelog.Books{Acked: at.Sequence, Chain: at.Chain, Confirmed: min(at.Sequence, m.LatestSequence), Snapshot: -1, Synced: 1}
	if n := len(m.Snapshots); n > 0 {
		b.Snapshot, b.SnapshotBytes = m.Snapshots[n-1].Sequence, m.Snapshots[n-1].Size
	}
	return changelog.Continue(c, id, b, last, sums)
}

// merge merges, in the working folder. The result is used only if all goes well and every
// conflict is decided.
func (j *job) merge(ctx context.Context) (err error) {
	opts := sqlite.Options{MustExist: true, Distrust: true, Synchronous: sqlite.SyncOff, OnConnect: j.opts.OnConnect}
	w, err := j.writer(opts)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	opts.KeepJournal, opts.QueryOnly = true, true
	m := &merger{ctx: ctx, w: w, choose: j.opts.Choose}
	for _, s := range []struct {
		path string
		to   **state
	}{{j.base.Path(), &m.base}, {j.theirs.Path(), &m.theirs}} {
		c, err := sqlite.Open(s.path, opts)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, c.Close()) }()
		if *s.to, err = read(c); err != nil {
			return err
		}
	}
	if m.ours, err = read(j.c); err != nil {
		return err
	}
	defer w.Watch(ctx)()
	w.Before()
	if err := w.Do("BEGIN IMMEDIATE"); err != nil {
		return err
	}
	if err := m.run(); err != nil {
		return errors.Join(err, w.Rollback())
	}
	j.res.Ours, j.res.Theirs, j.res.Conflicts, j.res.Applied = m.listed(m.ours, m.mine), m.listed(m.theirs, m.their), m.conflicts, m.applied
	w.Before()
	if err := w.Do("COMMIT"); err != nil {
		return errors.Join(err, w.Rollback())
	}
	w.After()
	if err := m.theirs.c.Rollback(); err != nil { // it reads the same file
		return err
	}
	if err := m.theirs.c.Close(); err != nil {
		return err
	}
	if j.res.Sequence, err = changelog.Last(w.Conn.Conn); err != nil {
		return err
	}
	return alone(w)
}

// writer opens the copy of the bucket's state for the merge.
func (j *job) writer(opts sqlite.Options) (*writer, error) {
	plain, err := sqlite.Open(j.theirs.Path(), opts)
	if err != nil {
		return nil, err
	}
	last, err := changelog.Last(plain)
	if err := errors.Join(err, plain.Close()); err != nil {
		return nil, err
	}
	c, err := capture.Open(j.theirs.Path(), opts, capture.NewShared(last, 0, nil))
	if err != nil {
		return nil, err
	}
	return &writer{c, map[*layout]func(*row) (*row, error){}}, c.Configure(lib.SQLITE_DBCONFIG_ENABLE_TRIGGER, false)
}

// alone checkpoints the WAL into the merged database, which no other connection has open.
// The database stays in WAL mode, as Open leaves it: changing the mode would change the
// file again after we have recorded how it was left.
func alone(w *writer) error {
	busy, err := w.Int("PRAGMA wal_checkpoint(TRUNCATE)")
	if err == nil && busy != 0 {
		err = errors.New("the merged database's write-ahead log could not be copied back into it")
	}
	return err
}
