// Package syncer is the engine: it ships the log to the bucket in the
// background, keeps the manifest up to date and takes snapshots.
//
// All work is done under one token, held by the loop, by the courier of those who wait for
// their changes, or by the caller of Flush or Snapshot, so no two steps run at once. Three
// things are slow and run outside the token, so that batches do not wait for them: making
// a snapshot (in a task), merging batches and deleting merged ones.
//
// The [Syncer] decides what is done when; its parts do it. The epoch knows who writes
// the history and what the manifest says, the uploader stores batches, the snapshotter
// takes snapshots, the compactor merges and deletes, and the brancher keeps the changes
// of a fenced session. The parts call one another's methods and share the state.
package syncer

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/driftdb/driftdb-go/internal/changelog"
	"github.com/driftdb/driftdb-go/internal/event"
	"github.com/driftdb/driftdb-go/internal/remote"
	"github.com/driftdb/driftdb-go/internal/retry"
	"github.com/driftdb/driftdb-go/internal/sqlite"
)

var (
	// ErrFenced means that another writer has taken over the database's name.
	ErrFenced = errors.New("another writer has taken over this database")
	// ErrDiverged means that the bucket holds a history that this file does not
	// continue.
	ErrDiverged = errors.New("the file and the bucket have diverged")
	// ErrHeld means that another node is the writer and that this one may not
	// take over.
	ErrHeld = errors.New("the database has a writer")
	// ErrClosed means that the engine was closed before it was done.
	ErrClosed = errors.New("sync was closed")
)

// Config is what the engine needs from its database. All fields must be set.
type Config struct {
	Log    *changelog.Log
	Bucket *remote.Bucket
	Direct *remote.Bucket // the same bucket for interactive calls: without retries and with short timeouts
	Path   string         // of the database; copies are made beside it

	// Sequence returns the last committed sequence.
	Sequence func() int64
	// Reader opens a connection for a snapshot to read from.
	Reader func() (*sqlite.Conn, error)
	// StandBack holds the database's writer back until release is called, so that the
	// engine's commits and the writer's do not wait for each other in SQLite.
	StandBack func(context.Context) (release func(), err error)
	// Writer opens a connection for bringing the file up to date. Its commits are
	// recognized as DriftDB's own and are on disk when they return.
	Writer func() (*sqlite.Conn, error)
	// Advance reports the new last sequence after the file was brought up to date.
	Advance func(sequence int64)
	// Contest is told whether the history's last writer was another node. If so,
	// TakeOver must be called before anything is committed.
	Contest func(bool)
	// Refuse makes writes fail from now on.
	Refuse func(error)

	Interval         time.Duration // between ticks while there is something to send
	Gap              time.Duration // between uploads for callers of WaitSynced
	Again            time.Duration // between the first failed round for callers of WaitSynced and the next; doubles up to Interval
	ManifestInterval time.Duration // between swaps of the manifest unless a caller asks for one
	SnapshotEvery    int64         // entries; negative: only after a barrier
	Limits           changelog.Limits
	Retention        time.Duration // how far back every point stays restorable; negative: forever
	Exclusive        bool          // do not take over from another node
	Advisory         bool          // the store need not honour conditions

	Logger event.Log
}

// Syncer ships one database's log. It decides what is done when; its parts do it.
type Syncer struct {
	*state

	epoch     *epoch
	compact   *compactor
	uploads   *uploader
	snapshots *snapshotter
	branch    *brancher

	opened int64              // the last sequence when the engine was created
	beside sync.WaitGroup     // of glances and couriers
	end    context.CancelFunc // ends life

	mu     sync.Mutex         // Start and Halt
	cancel context.CancelFunc // nil: the loop should not run
	done   chan struct{}      // closed when the last loop has ended
}

// New returns an engine that does nothing until it is started or called.
func New(cfg Config) (*Syncer, error) {
	life, end := context.WithCancel(context.Background())
	st, err := newState(cfg, life)
	if err != nil {
		end()
		return nil, err
	}
	s := &Syncer{state: st, opened: cfg.Sequence(), end: end, done: make(chan struct{})}
	close(s.done)
	s.epoch = &epoch{state: st}
	s.compact = &compactor{state: st, epoch: s.epoch, undone: map[string]bool{}}
	s.uploads = &uploader{state: st, epoch: s.epoch, compact: s.compact}
	s.snapshots = &snapshotter{state: st, epoch: s.epoch, uploads: s.uploads}
	s.branch = &brancher{state: st, epoch: s.epoch, uploads: s.uploads, snapshots: s.snapshots}
	return s, nil
}

// work does one round (upload, snapshot, manifest, trim) and records its error in the
// status.
func (s *Syncer) work(ctx context.Context, r request) error {
	err := s.round(retry.Telling(ctx, s.waiters.note), r)
	if s.broken != nil || s.epoch.isGone() {
		s.snapshots.drop()
	}
	switch {
	case err == nil && s.snapshots.ailing() != nil:
		ailing := s.snapshots.ailing()
		s.status.lastErr.Store(&ailing)
		s.waiters.note(ailing)
	case err == nil:
		s.waiters.note(nil)
		if s.status.lastErr.Swap(nil) != nil {
			s.event(event.SyncRecovered, "syncing works again")
		}
	case s.life.Err() != nil:
		return ErrClosed
	case ctx.Err() == nil:
		s.waiters.note(err)
		s.status.errors.Add(1)
		s.status.lastErr.Store(&err)
		s.report(err)
	}
	return err
}

func (s *Syncer) round(ctx context.Context, r request) error {
	if s.broken != nil {
		return errors.Join(s.broken, s.branch.save(ctx))
	}
	if s.unsaved.is {
		if err := s.record(ctx, s.books, s.digests); err != nil {
			return err
		}
	}
	target := s.cfg.Sequence()
	idle := s.books.Acked >= target && !s.books.BarrierOpen() && !r.snapshot && !s.snapshots.underway().ended()
	switch {
	case !idle || s.unconfirmed() || s.epoch.isGone():
	case r.waited && s.safe() < target: // another session's changes: an epoch of this one's confirms them
	case r.leave:
		return s.epoch.releaseName(ctx)
	case s.epoch.mustCheck() && r.background(), s.status.behind.Load() && r.flush:
		return s.epoch.recheck(ctx)
	default:
		return nil
	}
	swapped := s.epoch.lastSwap()
	if err := s.send(ctx, r, target); err != nil {
		if errors.Is(err, ErrFenced) {
			err = errors.Join(err, s.branch.save(ctx))
		}
		return err
	}
	if s.unsaved.is {
		return nil // there is no disk space for merging, deleting or trimming the log either
	}
	switch {
	case !r.waited:
		s.maintain(ctx, r)
	case s.epoch.lastSwap().Equal(swapped):
		return nil
	}
	if s.broken != nil { // maintain found that another writer has taken over
		return errors.Join(s.broken, s.branch.save(ctx))
	}
	if err := s.trim(ctx); err != nil || !r.leave {
		return err
	}
	return s.epoch.releaseName(ctx)
}

// send uploads what was committed up to target, takes a snapshot if one is due, and
// confirms both in the manifest.
func (s *Syncer) send(ctx context.Context, r request, target int64) error {
	if err := s.epoch.resume(ctx); err != nil {
		return err
	}
	if s.session.epoch == 0 {
		s.snapshots.drop()
		if err := s.epoch.acquire(ctx, s.cfg.Bucket, s.uploads.entry(r, target)); err != nil {
			return err
		}
	}
	if err := s.uploads.ship(ctx, target); err != nil {
		return err
	}
	if r.waited {
		if err := s.epoch.vouch(ctx); err != nil {
			return err
		}
	}
	if err := s.snapshots.finish(ctx); err != nil {
		return err
	}
	switch {
	case s.snapshots.underway() == nil && (r.snapshot || s.snapshots.due(r)):
		return s.snapshots.start(ctx, r.parent)
	case r.waited && s.status.running.Load(): // the loop confirms, and merges what it has confirmed
	case s.books.Confirmed < s.books.Acked && (r.flush || s.epoch.sinceSwap() >= s.cfg.ManifestInterval):
		return s.epoch.confirm(ctx, nil)
	}
	return nil
}

func (s *Syncer) trim(ctx context.Context) error {
	through := min(s.books.Kept(), s.snapshots.needs())
	err := s.steps(ctx, func() (bool, error) { return s.log.Trim(through) })
	if sqlite.IsFull(err) {
		s.noRoom(err)
		err = nil
	}
	return err
}

// maintain keeps the bucket small and the digests complete. A chore that fails is
// retried in a later round. Slow chores are left to background rounds, for which no
// caller waits.
func (s *Syncer) maintain(ctx context.Context, r request) {
	s.compact.chore(ctx, "merge batches", s.compact.merge)
	s.compact.chore(ctx, "delete merged batches", s.compact.deleteMerged)
	if !r.collect && s.snapshots.underway() == nil {
		s.compact.chore(ctx, "delete what is too old", s.compact.collectDue)
	}
	if r.background() {
		s.compact.chore(ctx, "compute digests", s.snapshots.rescan)
	}
}
