package sqlite

import (
	"context"
	"errors"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/driftdb/driftdb-go/internal/cmem"
	"modernc.org/libc"
	lib "modernc.org/sqlite/lib"
)

const (
	// walStart is the size in bytes at which the WAL is copied back into the database.
	// SQLite's own default of 1000 pages would be reached sooner here than without a log.
	walStart = 16 << 20
	// walSlack is how much further the WAL grows before writers wait for the checkpoint, which
	// then catches up.
	walSlack = 24 << 20
	// WALLimit bounds the WAL's size as long as nothing keeps a checkpoint from reaching its
	// end.
	WALLimit = walStart + walSlack
	// walLarge is the size at which the WAL's file no longer keeps its space. Once no commit
	// has come for walIdle the file is truncated; that takes seconds for GiBs, and writers are
	// locked out meanwhile. A blocked checkpoint is retried at the same interval.
	walLarge = 64 << 20
	walIdle  = time.Second
	// walLittle is how much may be left to copy when the writers are shut out, so that they do
	// not notice.
	walLittle = 1 << 20
	// walRetry is how much is written before a checkpoint that readers blocked is retried.
	walRetry = 4 << 20
	// restartTimeout is how long the last step waits for the writers to let it in and for
	// readers of an old snapshot to end. The writers wait with it.
	restartTimeout = 10 * time.Millisecond
	// A pass looks readerPolls times for whether the readers of an old snapshot have ended. It
	// counts and has no deadline: where the sleeps take longer, so do the readers. It does not
	// wait for a read that is as old as longRead.
	readerPolls = 10
	readerPoll  = time.Millisecond
	longRead    = 50 * time.Millisecond
	// maxPasses bounds one checkpoint in case the writers are faster than it.
	maxPasses = 20
	// maxWait bounds the number of checkpoints that a writer waits for.
	maxWait = 4
)

// Checkpointer copies the WAL of a database back into its file in the background. SQLite would
// do it within the commit that finds the WAL large, and a commit after a long read transaction
// finds it very large.
//
// It makes passes concurrently with the writers until little is left, and shuts them out only
// for that rest, so that the WAL can restart. While a connection holds it back (see
// Conn.HoldCheckpoints) it does nothing. A Checkpointer serves all connections of a database
// that are opened with it in their Options.
type Checkpointer struct {
	path   string
	id     uintptr // its id for SQLite's hook
	claim  func(*Conn) error
	report func(error)

	failing bool // the last checkpoint failed; only run uses it

	unsynced atomic.Bool // a sync of the WAL failed; see MendWAL

	pageSize atomic.Int64  // 0: no connection has been opened yet
	pages    atomic.Int64  // pages in the WAL after the last commit
	due      atomic.Int64  // pages at which a checkpoint is due …
	limit    atomic.Int64  // … and at which writers wait for it
	wake     chan struct{} // capacity 1

	mu      sync.Mutex
	turn    *sync.Cond // signaled when a checkpoint has ended, or none will come
	rounds  int        // checkpoints that have completed
	holds   int
	telling bool // report is running, and may itself write
	closed  bool
	conn    *Conn                // opened by the first checkpoint
	readers *Pool                // whose snapshots block a checkpoint; nil: none
	oldest  func() time.Duration // the age of the process's oldest read; nil: there is none

	done chan struct{}
}

// SQLite's hook gets a number, not a Go pointer.
var (
	checkpointers  sync.Map // id -> *Checkpointer
	checkpointerID atomic.Uintptr
)

// NewCheckpointer starts the checkpointer of the database at path. claim is the Claim option
// of its own connection. report is called, on another goroutine, when a checkpoint fails and
// the previous one did not; meanwhile the WAL grows, and nothing is lost.
func NewCheckpointer(path string, claim func(*Conn) error, report func(error)) *Checkpointer {
	cp := &Checkpointer{
		path: path, id: checkpointerID.Add(1), claim: claim, report: report,
		wake: make(chan struct{}, 1), done: make(chan struct{}),
	}
	cp.turn = sync.NewCond(&cp.mu)
	checkpointers.Store(cp.id, cp)
	go cp.run()
	return cp
}

// Spare makes the connections of p keep no snapshots while a checkpoint runs, because a kept
// snapshot blocks it. oldestRead is the age of this process's oldest open read, for which a
// checkpoint waits if it is young; 0: there is none.
func (cp *Checkpointer) Spare(p *Pool, oldestRead func() time.Duration) {
	cp.mu.Lock()
	defer cp.mu.Unlock()
	cp.readers, cp.oldest = p, oldestRead
}

// alone runs fn, a checkpoint, while the pool keeps no snapshot.
func (cp *Checkpointer) alone(fn func() error) error {
	cp.mu.Lock()
	p := cp.readers
	cp.mu.Unlock()
	if p != nil {
		p.keepNone()
		defer p.keepAgain()
	}
	return fn()
}

// Close interrupts a running checkpoint and waits for it. Connections that are still open no
// longer checkpoint; the last one to be closed does, as always.
func (cp *Checkpointer) Close() error {
	cp.mu.Lock()
	if cp.closed {
		cp.mu.Unlock()
		return nil
	}
	cp.closed = true
	checkpointers.Delete(cp.id)
	close(cp.wake)
	cp.turn.Broadcast()
	if cp.conn != nil {
		cp.conn.Interrupt()
	}
	cp.mu.Unlock()
	<-cp.done
	if cp.conn == nil {
		return nil
	}
	return cp.conn.Close()
}

// watch takes over c's checkpoints.
func (cp *Checkpointer) watch(c *Conn) error {
	size, err := c.Int("PRAGMA page_size") // it cannot change in WAL mode
	if err != nil {
		return err
	}
	cp.mu.Lock()
	if cp.pageSize.Load() == 0 {
		cp.pageSize.Store(size)
		cp.expect(walStart / size)
	}
	cp.mu.Unlock()
	c.checkpointer = cp
	lib.Xsqlite3_wal_hook(c.TLS, c.DB, CFunc(walHook), cp.id)
	return nil
}

// othersPages is the number of pages at which the WAL of an attached database is checkpointed:
// SQLite's default.
const othersPages = 1000

// walHook is called after each commit to a WAL, once the locks are released.
func walHook(tls *libc.TLS, id, db, zDB uintptr, pages int32) int32 {
	switch v, ok := checkpointers.Load(id); {
	case !ok:
	case string(CString(zDB)) == "main":
		v.(*Checkpointer).committed(db, int64(pages))
	case pages >= othersPages:
		lib.Xsqlite3_wal_checkpoint(tls, db, zDB)
	}
	return lib.SQLITE_OK
}

// committed records how large the WAL is. A writer that finds it too large waits until the
// checkpointer has caught up, or has found that it cannot; so it keeps no snapshot then.
func (cp *Checkpointer) committed(db uintptr, pages int64) {
	cp.pages.Store(pages)
	if pages < cp.due.Load() {
		return
	}
	cp.kick()
	if pages < cp.limit.Load() {
		return
	}
	cp.mu.Lock()
	defer cp.mu.Unlock()
	if cp.readers != nil && cp.readers.keeper != nil && cp.readers.keeper.c.DB == db {
		cp.readers.keeper.End()
	}
	for last := cp.rounds + maxWait; cp.comes(last) && cp.pages.Load() >= cp.limit.Load(); {
		cp.ask()
		cp.turn.Wait()
	}
}

// comes reports whether it is worth waiting for another checkpoint, up to number last. The
// caller holds mu.
func (cp *Checkpointer) comes(last int) bool {
	return cp.rounds < last && cp.holds == 0 && !cp.telling && !cp.closed
}

// expect sets the number of pages at which the next checkpoint is due.
func (cp *Checkpointer) expect(pages int64) {
	cp.due.Store(pages)
	cp.limit.Store(pages + cp.count(walSlack))
}

// count converts bytes to pages.
func (cp *Checkpointer) count(bytes int64) int64 { return bytes / cp.pageSize.Load() }

func (cp *Checkpointer) kick() {
	cp.mu.Lock()
	defer cp.mu.Unlock()
	cp.ask()
}

// ask wakes the checkpointer. The caller holds mu.
func (cp *Checkpointer) ask() {
	if cp.closed {
		return
	}
	select {
	case cp.wake <- struct{}{}:
	default:
	}
}

// run keeps the WAL within its bound. While the WAL holds more than walStart, or its file is
// large, a timer retries, whatever blocked the last attempt: the end of a read sends no
// wake-up, least of all in another process. While a hold lasts, the timer does nothing. After
// a failed checkpoint, only a commit or the end of a hold starts the next one.
func (cp *Checkpointer) run() {
	defer close(cp.done)
	var again <-chan time.Time
	var large bool // the file has been large since the last cut
	var seen int64 // pages when the timer was set
	for {
		var err error
		select {
		case _, open := <-cp.wake:
			if !open {
				return
			}
			if cp.pages.Load() < cp.due.Load() {
				continue // the wake-up came from a commit before the last checkpoint's end
			}
			large = large || cp.pages.Load() > cp.count(walLarge)
			err = cp.round()
		case <-again:
			large = large || cp.pages.Load() > cp.count(walLarge)
			switch {
			case cp.held():
			case cp.overdue():
				err = cp.round()
			case large && cp.pages.Load() == seen:
				err = cp.alone(cp.cut)
				large = err != nil
			}
		}
		if Stopped(err) || errors.Is(err, errCheckpointerClosed) { // stopped by a reader, another process, or Close
			err = nil
		}
		cp.tell(err)
		again = nil
		if err == nil && (large || cp.overdue()) {
			again, seen = time.After(walIdle), cp.pages.Load()
		}
	}
}

// round is one checkpoint.
func (cp *Checkpointer) round() error {
	return cp.alone(func() error {
		r, err := cp.checkpoint()
		cp.syncFailed(err)
		cp.ended(r)
		return err
	})
}

// cut truncates the WAL's file.
func (cp *Checkpointer) cut() error {
	_, _, err := cp.conn.checkpoint(lib.SQLITE_CHECKPOINT_TRUNCATE)
	return err
}

// overdue reports whether the WAL holds more than a checkpoint would leave in it.
func (cp *Checkpointer) overdue() bool { return cp.pages.Load() >= cp.count(walStart) }

func (cp *Checkpointer) held() bool {
	cp.mu.Lock()
	defer cp.mu.Unlock()
	return cp.holds > 0
}

// tell reports the first of consecutive failures.
func (cp *Checkpointer) tell(err error) {
	if err != nil && !cp.failing && cp.report != nil {
		cp.setTelling(true)
		cp.report(err)
		cp.setTelling(false)
	}
	cp.failing = err != nil
}

func (cp *Checkpointer) setTelling(telling bool) {
	cp.mu.Lock()
	defer cp.mu.Unlock()
	cp.telling = telling
	cp.turn.Broadcast()
}

var errCheckpointerClosed = errors.New("sqlite: the checkpointer is closed")

// result is how a checkpoint ended.
type result int

const (
	blocked result = iota // a reader has an old snapshot, if only a commit that is just ending; or the disk is full
	crowded               // the writers left no gap in which to shut them out
	renewed               // the WAL restarts
)

// ended sets when the next checkpoint is due, and wakes the waiting writers.
func (cp *Checkpointer) ended(r result) {
	cp.mu.Lock()
	defer cp.mu.Unlock()
	pages := cp.pages.Load()
	again := pages + cp.count(walRetry)
	waited := pages >= cp.limit.Load()
	switch {
	case cp.holds > 0:
	case r == renewed:
		cp.expect(cp.count(walStart))
	case r == crowded && !waited:
		// Back-to-back long transactions leave no gap. Little is left to copy, so the next
		// writer to commit waits for it.
		cp.limit.Store(pages)
		cp.due.Store(pages)
	case waited && (r == blocked || pages < cp.count(walStart+walSlack)):
		cp.limit.Store(again) // waiting would not help
		fallthrough
	default:
		cp.due.Store(min(again, cp.limit.Load()))
	}
	cp.rounds++
	cp.turn.Broadcast()
}

// checkpoint copies the whole WAL and restarts it.
func (cp *Checkpointer) checkpoint() (result, error) {
	c, err := cp.connect()
	if err != nil {
		return blocked, err
	}
	if cp.unsynced.Load() { // copy nothing back before its WAL is on disk
		err := c.Exec("BEGIN IMMEDIATE")
		if err == nil {
			err = errors.Join(cp.mend(c), c.Rollback())
		}
		if err != nil {
			return blocked, err
		}
	}
	for range maxPasses {
		pages, copied, err := cp.pass(c)
		if err != nil || copied < pages {
			return blocked, err
		}
		if cp.pages.Load()-copied <= cp.count(walLittle) {
			break
		}
	}
	switch _, _, err = c.checkpoint(lib.SQLITE_CHECKPOINT_RESTART); {
	case IsBusy(err):
		return crowded, nil
	case err != nil:
		return blocked, err
	}
	cp.pages.Store(0)
	return renewed, nil
}

// pass copies what it can, and shuts nobody out. A reader of an older snapshot is in its way.
// Most are about to end, and it waits for them: reads that follow each other without a pause
// would be in the way every time. One that began long ago it leaves alone.
func (cp *Checkpointer) pass(c *Conn) (pages, copied int64, err error) {
	for looks := 1; ; looks++ {
		pages, copied, err = c.checkpoint(lib.SQLITE_CHECKPOINT_PASSIVE)
		if err != nil || copied == pages || pages-copied > cp.count(walRetry) || looks == readerPolls || cp.longRead() {
			return pages, copied, err
		}
		time.Sleep(readerPoll)
	}
}

// longRead reports whether a read of this process is not worth waiting for.
func (cp *Checkpointer) longRead() bool {
	cp.mu.Lock()
	oldest := cp.oldest
	cp.mu.Unlock()
	return oldest != nil && oldest() >= longRead
}

func (cp *Checkpointer) connect() (*Conn, error) {
	cp.mu.Lock()
	defer cp.mu.Unlock()
	if cp.conn != nil {
		return cp.conn, nil
	}
	if cp.closed {
		return nil, errCheckpointerClosed
	}
	c, err := new(Driver).Open(cp.path, Options{BusyTimeout: restartTimeout, MustExist: true, KeepJournal: true, Claim: cp.claim})
	cp.conn = c
	return c, err
}

// checkpoint runs one checkpoint and returns how many pages the WAL had, and how many of them
// are now in the database file.
func (c *Conn) checkpoint(mode int32) (pages, copied int64, err error) {
	log, ckpt := c.cells, c.cells+8
	rc := lib.Xsqlite3_wal_checkpoint_v2(c.TLS, c.DB, 0, mode, log, ckpt)
	return int64(*cmem.At[int32](log)), int64(*cmem.At[int32](ckpt)), c.Err(rc)
}

// HoldCheckpoints keeps the database's Checkpointer, if it has one, from working until c is
// closed or calls ReleaseCheckpoints. It is for a connection that is about to hold one read
// transaction for long: a checkpoint cannot get past that, and an attempt is wasted work.
// Meanwhile the WAL grows by all that is written; so that it starts small, HoldCheckpoints
// first waits for one checkpoint.
func (c *Conn) HoldCheckpoints() {
	cp := c.checkpointer
	if cp == nil || c.holds {
		return
	}
	c.holds = true
	cp.mu.Lock()
	defer cp.mu.Unlock()
	for last := cp.rounds + maxWait; cp.comes(last) && cp.pages.Load() > cp.count(walRetry); {
		cp.due.Store(0)
		cp.ask()
		cp.turn.Wait()
	}
	cp.holds++
	cp.expect(math.MaxInt32)
	cp.turn.Broadcast()
}

// ReleaseCheckpoints ends c's hold. It returns when what has accumulated in the WAL is copied
// back, when that cannot be done, or when ctx ends. c's read transaction must have ended. A
// writer that commits with synchronous=FULL should wait for it: its commit would sync that
// whole WAL while it keeps other writers out.
func (c *Conn) ReleaseCheckpoints(ctx context.Context) {
	if !c.holds {
		return
	}
	c.holds = false
	cp := c.checkpointer
	cp.release()
	defer context.AfterFunc(ctx, func() {
		cp.mu.Lock() // so that a caller that has just checked ctx is waiting by now
		defer cp.mu.Unlock()
		cp.turn.Broadcast()
	})()
	cp.mu.Lock()
	defer cp.mu.Unlock()
	for last := cp.rounds + maxWait; cp.comes(last) && ctx.Err() == nil && cp.pages.Load() >= cp.due.Load(); {
		cp.ask()
		cp.turn.Wait()
	}
}

// release ends a hold, after the connection's last statement.
func (cp *Checkpointer) release() {
	cp.mu.Lock()
	if cp.holds--; cp.holds == 0 {
		// Copying what has accumulated takes longer than usual: only writers that double it
		// meanwhile must wait.
		pages := cp.pages.Load()
		cp.expect(max(cp.count(walStart), pages))
		cp.limit.Add(pages)
	}
	cp.mu.Unlock()
	cp.kick()
}
