// Package syncer is the engine: it ships the log to the bucket in the
// background, keeps the manifest up to date and takes snapshots.
//
// All work is done under one token, by the loop or by whoever calls Flush or
// Snapshot, so a step never meets another one. What takes long of a snapshot is
// done beside that, by a task: batches do not wait for it.
package syncer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/driftdb/driftdb-go/internal/changelog"
	"github.com/driftdb/driftdb-go/internal/remote"
	"github.com/driftdb/driftdb-go/internal/sqlite"
)

var (
	// ErrFenced says that another writer has taken the database's name over.
	ErrFenced = errors.New("another writer has taken over this database")
	// ErrDiverged says that the bucket holds a history that this file does not
	// continue.
	ErrDiverged = errors.New("the file and the bucket have diverged")
	// ErrHeld says that another node is the writer and that this one may not
	// take over.
	ErrHeld = errors.New("the database has a writer")
	// ErrClosed says that the engine was closed before it was done.
	ErrClosed = errors.New("sync was closed")
)

// Config is what the engine needs of its database. All fields are set.
type Config struct {
	Log    *changelog.Log
	Bucket *remote.Bucket
	Direct *remote.Bucket // the same for whoever is waited for: it does not repeat what fails, nor wait long
	Path   string         // of the database, for copies beside it

	// Sequence is the last committed one.
	Sequence func() int64
	// Reader opens a connection for a snapshot to read from.
	Reader func() (*sqlite.Conn, error)
	// StandBack makes the database's writer stand back until release is called, so
	// that our commits and its own do not wait for one another in SQLite.
	StandBack func(context.Context) (release func(), err error)
	// Writer opens a connection to bring the file up to date with, whose commits
	// are known to be ours and on disk when they return.
	Writer func() (*sqlite.Conn, error)
	// Advance says that the last sequence is another one: the file was brought up
	// to date.
	Advance func(sequence int64)
	// Contest says whether the history had its last writer elsewhere: then TakeOver is to
	// be called before anything is committed.
	Contest func(bool)
	// Refuse makes writes fail from now on.
	Refuse func(error)

	Interval         time.Duration // between ticks while there is something to send
	ManifestInterval time.Duration // between swaps of the manifest while nobody asks for one
	SnapshotEvery    int64         // entries
	Limits           changelog.Limits
	Retention        time.Duration // how far back every point stays restorable; negative: all of it
	Exclusive        bool          // do not take over from another node
	Advisory         bool          // the store need not honour conditions

	Logger *slog.Logger
}

// Syncer ships one database's log.
type Syncer struct {
	cfg   Config
	log   *changelog.Log
	token chan struct{} // held by whoever works; the fields below it belong to the holder
	wake  chan struct{} // capacity 1: there may be something to do

	books    changelog.Books
	digests  changelog.Digests // of the tables, as they were after books.Acked
	unsaved  unsaved           // what of all this the file has no room for
	unsummed bool              // there may be tables of which they know nothing
	manifest remote.Stored     // as we wrote it last; empty until this session has an epoch
	gone     bool              // it was not there when we looked
	epoch    int64             // 0: none yet
	node     string            // under which this session stores batches
	swapped  time.Time         // when the manifest was swapped last
	broken   error             // why nothing is sent any more: fenced, diverged, held
	skewed   bool              // that the clocks differ has been told
	branched int64             // up to where the bucket keeps what this session has, which was fenced

	compared  *Comparison // as file and bucket were when they were compared last
	unchecked bool        // Open could not compare file and bucket
	probed    bool        // the store honours conditions
	ailment   ailment

	task *task // makes a snapshot; nil: there is none

	pieces     []piece         // what this session has stored and may merge
	spare      string          // the batch that its first one has taken the place of: the next session deletes it
	deleteNext time.Time       // when merged batches may next be deleted, by the monotonic clock
	undone     map[string]bool // why chores fail, as told

	opened int64 // the last sequence when the engine was made

	glances sync.WaitGroup

	life context.Context // ends with Close
	end  context.CancelFunc

	mu     sync.Mutex         // Start and Halt
	cancel context.CancelFunc // nil: the loop is not to run
	done   chan struct{}      // closed when the last loop has ended

	status status
}

type status struct {
	running                          atomic.Bool
	acked, confirmed, synced, errors atomic.Int64
	lastSync, lastSnapshot           atomic.Int64 // Unix ms
	lastErr                          atomic.Pointer[error]
	barrier                          atomic.Int64 // the last one, if it is open; else 0
	fenced, mine, behind             atomic.Bool
	mismatches                       atomic.Int64
	faults                           atomic.Pointer[[]string]
}

// New returns an engine that does nothing until it is started or asked.
func New(cfg Config) (*Syncer, error) {
	s := &Syncer{cfg: cfg, log: cfg.Log, opened: cfg.Sequence(), token: make(chan struct{}, 1), wake: make(chan struct{}, 1), undone: map[string]bool{}}
	s.life, s.end = context.WithCancel(context.Background())
	s.done = make(chan struct{})
	close(s.done)
	var err error
	if s.books, err = cfg.Log.Books(); err != nil {
		return nil, err
	}
	if s.digests, err = cfg.Log.Digests(); err != nil {
		return nil, err
	}
	s.unsummed, s.unsaved.digests = true, s.digests
	s.status.acked.Store(s.books.Acked)
	s.status.confirmed.Store(s.books.Confirmed)
	s.status.mine.Store(s.mine())
	return s, nil
}

// Wake says that something was committed. It never blocks.
func (s *Syncer) Wake() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// Start starts the loop, unless it runs.
func (s *Syncer) Start() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cancel != nil || s.life.Err() != nil {
		return
	}
	ctx, cancel := context.WithCancel(s.life)
	before := s.done
	s.cancel, s.done = cancel, make(chan struct{})
	s.status.running.Store(true)
	go func(done chan struct{}) {
		defer close(done)
		<-before
		s.loop(ctx)
	}(s.done)
}

// Stop ends the loop, interrupts what it is doing and waits for it.
func (s *Syncer) Stop() { <-s.Halt() }

// Halt is Stop without the waiting: the channel is closed when the loop has ended.
func (s *Syncer) Halt() <-chan struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cancel != nil {
		s.cancel()
		s.cancel = nil
		s.status.running.Store(false)
	}
	return s.done
}

// Close stops the loop, interrupts whoever works and waits for him. Nobody
// works afterwards.
func (s *Syncer) Close() {
	s.end()
	s.glances.Wait()
	s.Stop()
	s.token <- struct{}{}
	if s.task != nil { // which ends with the engine; and nobody starts another one
		<-s.task.done
	}
}

// loop sleeps until something is committed, waits an interval for more, and
// ticks. While nothing is left to do no timer runs.
func (s *Syncer) loop(ctx context.Context) {
	timer := time.NewTimer(0)
	var next time.Time // when the timer fires; zero: it does not run
	if s.due() {
		next = time.Now() // what an earlier session left waits no longer
	} else {
		timer.Stop()
	}
	var started *task // by this loop
	defer func() {
		if started != nil {
			<-started.done
		}
	}()
	for {
		wake := s.wake
		if !next.IsZero() && time.Until(next) <= s.cfg.Interval {
			wake = nil // that is soon enough: the writers' wake-ups need not be counted
		}
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-wake:
			next = time.Now().Add(s.cfg.Interval)
		case <-timer.C:
			var wait time.Duration
			next = time.Time{}
			if wait, started = s.tick(ctx); wait > 0 {
				next = time.Now().Add(wait)
			}
		}
		if !next.IsZero() {
			timer.Reset(time.Until(next))
		}
	}
}

// tick does one round of work, and returns after how long there is more to do,
// or 0 when there is not; and the task that this loop has under way, if there is one.
func (s *Syncer) tick(ctx context.Context) (wait time.Duration, started *task) {
	if err := s.acquire(ctx); err != nil {
		return 0, nil
	}
	defer s.release()
	err := s.work(ctx, request{parent: ctx})
	if s.task != nil && s.task.parent == ctx {
		started = s.task
	}
	return s.next(ctx, err), started
}

// next is after how long there is more to do when a tick has ended with err.
func (s *Syncer) next(ctx context.Context, err error) time.Duration {
	switch {
	case ctx.Err() != nil || s.broken != nil && !s.straggling():
		return 0
	case errors.Is(err, ErrMalformed):
		return s.ailment.left()
	case err != nil, s.pending() > 0, s.unsaved.is, s.gone:
		return s.cfg.Interval
	case s.ailment.err != nil && s.books.BarrierOpen(): // what the bucket has waits for a snapshot
		return s.ailment.left()
	case s.task != nil && s.books.BarrierOpen(): // it waits for the task, whose end wakes the loop
		return 0
	case s.unconfirmed():
		return max(s.cfg.ManifestInterval-time.Since(s.swapped), time.Millisecond)
	}
	return 0
}

func (s *Syncer) acquire(ctx context.Context) error {
	select {
	case s.token <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	case <-s.life.Done():
		return ErrClosed
	}
}

// bound returns a context that ends with ctx, and with the engine.
func (s *Syncer) bound(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(s.life, func() { cancel(ErrClosed) })
	return ctx, func() { stop(); cancel(nil) }
}

func (s *Syncer) release() { <-s.token }

// due says whether an earlier session left something to do.
func (s *Syncer) due() bool {
	if err := s.acquire(context.Background()); err != nil {
		return false
	}
	defer s.release()
	return s.opened > s.books.Acked || s.unconfirmed() || s.books.BarrierOpen() || s.unchecked
}

// unconfirmed says whether sessions of this file have stored what no manifest names. What
// others have stored, and this file has from them, is for them to confirm.
func (s *Syncer) unconfirmed() bool {
	return s.books.Confirmed < s.books.Acked && s.mine()
}

// mine says whether what the bucket has of this file's log at last is from sessions of
// the file.
func (s *Syncer) mine() bool { return s.epoch != 0 || s.books.Manifest != "" }

func (s *Syncer) pending() int64 { return s.cfg.Sequence() - s.books.Acked }

// Flush returns when all that was committed before the call is stored, and the
// manifest says so.
func (s *Syncer) Flush(ctx context.Context) error {
	return s.settled(ctx, request{flush: true})
}

// settled does rounds for r until all that was committed before the call is stored and
// the manifest says so. A snapshot that others have begun is waited for only where
// nothing counts without it.
func (s *Syncer) settled(ctx context.Context, r request) error {
	ctx, cancel := context.WithCancel(ctx) // one of its own: others may call with the same
	defer cancel()
	r.parent = ctx
	for through := s.cfg.Sequence(); ; {
		t, err := s.step(ctx, r)
		if err != nil || t == nil || t.parent != ctx && s.counts(through) {
			return err
		}
		if err := t.wait(ctx); err != nil {
			return err
		}
	}
}

// counts says whether all up to sequence is confirmed, and needs no snapshot that there
// is not yet.
func (s *Syncer) counts(sequence int64) bool {
	barrier := s.status.barrier.Load()
	return s.status.confirmed.Load() >= sequence && (barrier == 0 || barrier > sequence)
}

// step does one round for r, and returns the task that is under way then.
func (s *Syncer) step(ctx context.Context, r request) (*task, error) {
	if err := s.acquire(ctx); err != nil {
		return nil, err
	}
	defer s.release()
	ctx, done := s.bound(ctx)
	defer done()
	err := s.work(ctx, r)
	return s.task, err
}

// Snapshot stores a snapshot of all that was committed before the call. One that
// others have begun counts if all of that is in it.
func (s *Syncer) Snapshot(ctx context.Context) (remote.Snapshot, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var t *task
	for through := s.cfg.Sequence(); ; {
		snap, next, err := s.stepTo(ctx, through, t)
		if err != nil || snap.Key != "" {
			return snap, err
		}
		if t = next; t == nil {
			continue // what it had begun was of no use
		}
		if err := t.wait(ctx); err != nil {
			return snap, err
		}
	}
}

// stepTo does one round towards a snapshot of all up to through. It returns that, if
// it is the one of last, a task that has ended; else the task to wait for.
func (s *Syncer) stepTo(ctx context.Context, through int64, last *task) (snap remote.Snapshot, next *task, err error) {
	if err := s.acquire(ctx); err != nil {
		return snap, nil, err
	}
	defer s.release()
	bound, done := s.bound(ctx)
	defer done()
	if last == nil || !last.named { // by somebody else's round
		err = s.work(bound, request{parent: ctx, flush: true, snapshot: last == nil})
	}
	if err == nil && last != nil && last.named && last.state.snap.Sequence >= through {
		snap = last.state.snap
	}
	return snap, s.task, err
}

// request is what a caller wants beyond what a tick does.
type request struct {
	parent   context.Context // a task that is started for it lasts no longer
	flush    bool            // the manifest is swapped even if that is not due
	snapshot bool
	collect  bool // a collection follows, which is counted
	leave    bool // the session ends with it
}

// background says that nobody waits for it.
func (r request) background() bool { return !r.flush && !r.snapshot && !r.collect }

// work is one round: upload, snapshot, manifest, trim. Its errors are noted.
func (s *Syncer) work(ctx context.Context, r request) error {
	err := s.round(ctx, r)
	if s.broken != nil || s.gone {
		s.drop()
	}
	switch {
	case err == nil && s.ailment.err != nil:
		ailing := s.ailment.err
		s.status.lastErr.Store(&ailing)
	case err == nil:
		s.status.lastErr.Store(nil)
	case s.life.Err() != nil:
		return ErrClosed
	case ctx.Err() == nil:
		s.status.errors.Add(1)
		s.status.lastErr.Store(&err)
		s.report(err)
	}
	return err
}

func (s *Syncer) round(ctx context.Context, r request) error {
	if s.broken != nil {
		return errors.Join(s.broken, s.saveBranch(ctx))
	}
	if s.unsaved.is {
		if err := s.record(ctx, s.books, s.digests); err != nil {
			return err
		}
	}
	target := s.cfg.Sequence()
	idle := s.books.Acked >= target && !s.books.BarrierOpen() && !r.snapshot && !s.task.ended()
	switch {
	case !idle || s.unconfirmed() || s.gone:
	case r.leave:
		return s.releaseName(ctx)
	case s.unchecked && r.background():
		return s.recheck(ctx)
	default:
		return nil
	}
	if err := s.send(ctx, r, target); err != nil {
		if errors.Is(err, ErrFenced) {
			err = errors.Join(err, s.saveBranch(ctx))
		}
		return err
	}
	if s.unsaved.is {
		return nil // nor is there room to tidy up, or to trim the log
	}
	s.tidy(ctx, r)
	if s.broken != nil { // it found that somebody else writes
		return errors.Join(s.broken, s.saveBranch(ctx))
	}
	if err := s.trim(ctx); err != nil || !r.leave {
		return err
	}
	return s.releaseName(ctx)
}

// send stores what was committed up to target, takes a snapshot if one is due,
// and lets the manifest tell.
func (s *Syncer) send(ctx context.Context, r request, target int64) error {
	// Before anything is sent to a bucket that may not be there any more.
	gone := s.gone
	switch err := s.settle(ctx); {
	case gone && errors.Is(err, remote.ErrGone):
		s.manifest = remote.Stored{} // it stays away: this session begins anew, as another one would
	case err != nil:
		return err
	}
	if gone {
		s.gone, s.epoch = false, 0
	}
	if s.epoch == 0 {
		s.drop()
		if err := s.attach(ctx, r, target); err != nil {
			return err
		}
	}
	if err := s.ship(ctx, target); err != nil {
		return err
	}
	if err := s.finish(ctx); err != nil {
		return err
	}
	switch {
	case s.task == nil && (r.snapshot || s.snapshotDue(r)):
		return s.start(ctx, r.parent)
	case s.books.Confirmed < s.books.Acked && (r.flush || time.Since(s.swapped) >= s.cfg.ManifestInterval):
		return s.confirm(ctx, nil)
	}
	return nil
}

func (s *Syncer) trim(ctx context.Context) error {
	through := s.books.Kept()
	if s.task != nil {
		through = min(through, s.task.state.snap.Sequence) // name and adopt read what follows
	}
	err := s.steps(ctx, func() (bool, error) { return s.log.Trim(through) })
	if sqlite.IsFull(err) {
		s.noRoom(err)
		err = nil
	}
	return err
}

// steps repeats a small transaction until there is no more to do.
func (s *Syncer) steps(ctx context.Context, step func() (more bool, err error)) error {
	for more := true; more && ctx.Err() == nil; {
		err := s.exclusive(ctx, func() (err error) {
			more, err = step()
			return err
		})
		if err != nil {
			return fmt.Errorf("trim the log: %w", err)
		}
	}
	return nil
}

// Collapse gives up what the log has not sent: a barrier takes its place, and a
// snapshot follows when the bucket can be reached. What jobs have fixed stays.
func (s *Syncer) Collapse(ctx context.Context, reason string) (through int64, err error) {
	if err := s.acquire(ctx); err != nil {
		return 0, err
	}
	defer s.release()
	after := s.books.Acked
	jobs, err := s.log.Jobs(changelog.Upload)
	if err != nil {
		return 0, err
	}
	for _, j := range jobs {
		after = max(after, j.To)
	}
	through, err = s.log.Collapse(after, reason, func(commit func() error) error { return s.exclusive(ctx, commit) })
	if err != nil {
		return 0, err
	}
	s.Wake()
	return through, s.steps(ctx, func() (bool, error) { return s.log.Sweep(after+1, through) })
}
