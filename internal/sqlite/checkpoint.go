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
	// walStart is how large a WAL grows before it is copied back into the
	// database, in bytes. SQLite's own 1000 pages would be reached sooner here
	// than without a log.
	walStart = 16 << 20
	// walSlack is how much further a WAL grows before the writers wait for the
	// copying, which then catches up.
	walSlack = 24 << 20
	// WALLimit is how large the WAL grows while nothing keeps a checkpoint from its end.
	WALLimit = walStart + walSlack
	// walLarge is the size from which on the file does not keep its room: once
	// nobody has written for walIdle it is cut, which takes seconds for GiBs,
	// and no writer gets in meanwhile. As often, a checkpoint that somebody was in
	// the way of is tried again.
	walLarge = 64 << 20
	walIdle  = time.Second
	// walLittle is what may be left to copy when the writers are shut out, so
	// that they do not notice.
	walLittle = 1 << 20
	// walRetry is how much is written before a checkpoint that readers were in
	// the way of is tried again.
	walRetry = 4 << 20
	// restartTimeout is how long the last step waits for writers to let it in,
	// and for readers of an old state to end; the writers wait with it.
	restartTimeout = 10 * time.Millisecond
	// maxPasses bounds one checkpoint, should the writers be faster than it.
	maxPasses = 20
	// maxWait bounds the checkpoints that a writer waits for.
	maxWait = 4
)

// Checkpointer copies the WAL of a database back into its file, in the
// background: SQLite would do it within the commit that finds the WAL large,
// and a commit that comes after a long read transaction finds it very large.
//
// It copies beside the writers, again and again, until little is left, and
// shuts them out for that alone, so that the WAL can begin anew. While somebody
// holds it (see Conn.HoldCheckpoints) it does nothing. A Checkpointer serves
// all connections of a database that are opened with it in their Options.
type Checkpointer struct {
	path   string
	id     uintptr // what SQLite's hook knows it by
	claim  func(*Conn) error
	report func(error)

	failing bool // the last checkpoint has; run's own

	unsynced atomic.Bool // a sync of the WAL has failed: see MendWAL

	pageSize atomic.Int64  // 0: no connection was opened yet
	pages    atomic.Int64  // in the WAL, as the last commit left it
	due      atomic.Int64  // pages from which on there is something to do …
	limit    atomic.Int64  // … and from which on writers wait for that
	wake     chan struct{} // capacity 1

	mu      sync.Mutex
	turn    *sync.Cond // a checkpoint has ended, or none will come
	rounds  int        // checkpoints that have ended
	holds   int
	telling bool // report runs, and may itself write
	closed  bool
	conn    *Conn // opened by the first checkpoint
	readers *Pool // whose snapshots are in the way; nil: none

	done chan struct{}
}

// SQLite's hook gets a number, not a pointer of Go's.
var (
	checkpointers  sync.Map // id -> *Checkpointer
	checkpointerID atomic.Uintptr
)

// NewCheckpointer starts the checkpointer of the database at path. claim is that
// of the Options of its connection. report is called, on another goroutine, when a checkpoint fails and the one before did
// not; the WAL grows meanwhile, and nothing is lost.
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

// Spare makes the connections of p keep no snapshots while a checkpoint runs: one would be
// in its way for as long as it is kept.
func (cp *Checkpointer) Spare(p *Pool) {
	cp.mu.Lock()
	defer cp.mu.Unlock()
	cp.readers = p
}

// alone runs fn, a checkpoint, while no snapshot is kept.
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

// Close interrupts a running checkpoint and waits for it. Connections that are
// still open never checkpoint again; the last one to be closed does, as always.
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

// watch takes c's checkpoints over.
func (cp *Checkpointer) watch(c *Conn) error {
	size, err := c.Int("PRAGMA page_size") // which stays, in WAL mode
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

// othersPages is after how many pages the WAL of an attached database is
// copied back: SQLite's default.
const othersPages = 1000

// walHook is called after each commit to a WAL, when the locks are released.
func walHook(tls *libc.TLS, id, db, zDB uintptr, pages int32) int32 {
	switch v, ok := checkpointers.Load(id); {
	case !ok:
	case string(CString(zDB)) == "main":
		v.(*Checkpointer).committed(int64(pages))
	case pages >= othersPages:
		lib.Xsqlite3_wal_checkpoint(tls, db, zDB)
	}
	return lib.SQLITE_OK
}

// committed notes how large the WAL is. The writer that finds it too large
// waits until the checkpointer has caught up, or finds that it cannot.
func (cp *Checkpointer) committed(pages int64) {
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
	for last := cp.rounds + maxWait; cp.comes(last) && cp.pages.Load() >= cp.limit.Load(); {
		cp.ask()
		cp.turn.Wait()
	}
}

// comes says whether it is worth waiting for a checkpoint, up to the last of some.
// The caller has mu.
func (cp *Checkpointer) comes(last int) bool {
	return cp.rounds < last && cp.holds == 0 && !cp.telling && !cp.closed
}

// expect says from how many pages on there is something to do.
func (cp *Checkpointer) expect(pages int64) {
	cp.due.Store(pages)
	cp.limit.Store(pages + cp.count(walSlack))
}

// count is a number of bytes in pages.
func (cp *Checkpointer) count(bytes int64) int64 { return bytes / cp.pageSize.Load() }

func (cp *Checkpointer) kick() {
	cp.mu.Lock()
	defer cp.mu.Unlock()
	cp.ask()
}

// ask wakes the checkpointer; the caller has mu.
func (cp *Checkpointer) ask() {
	if cp.closed {
		return
	}
	select {
	case cp.wake <- struct{}{}:
	default:
	}
}

// run keeps the WAL's bound: while more is in the WAL than walStart, or its file is
// large, a timer runs that tries again, whoever was in the way. The end of a read
// asks for nothing, least of all one in another process. While a hold lasts, or
// checkpoints fail, the timer waits for the hold's end or for a commit.
func (cp *Checkpointer) run() {
	defer close(cp.done)
	var again <-chan time.Time
	var large bool // the file, since the last cut
	var seen int64 // pages when the timer was set
	for {
		var err error
		select {
		case _, open := <-cp.wake:
			if !open {
				return
			}
			if cp.pages.Load() < cp.due.Load() {
				continue // a commit of before the last checkpoint's end asked
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
		if Stopped(err) || errors.Is(err, errCheckpointerClosed) { // a reader, another process, or Close
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

// cut gives the room of the WAL's file back.
func (cp *Checkpointer) cut() error {
	_, _, err := cp.conn.checkpoint(lib.SQLITE_CHECKPOINT_TRUNCATE)
	return err
}

// overdue says that more is in the WAL than a checkpoint would leave there.
func (cp *Checkpointer) overdue() bool { return cp.pages.Load() >= cp.count(walStart) }

func (cp *Checkpointer) held() bool {
	cp.mu.Lock()
	defer cp.mu.Unlock()
	return cp.holds > 0
}

// tell reports the first of a row of failures.
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
	blocked result = iota // somebody reads an old state, if only a commit that is just ending; or the disk is full
	crowded               // the writers left no gap to shut them out in
	renewed               // the WAL begins anew
)

// ended says when there is something to do again, and frees who waits.
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
		// One long transaction after the other leaves no gap. What is left to
		// copy is little, so the next writer to commit waits for it.
		cp.limit.Store(pages)
		cp.due.Store(pages)
	case waited && (r == blocked || pages < cp.count(walStart+walSlack)):
		cp.limit.Store(again) // it is no use to wait
		fallthrough
	default:
		cp.due.Store(min(again, cp.limit.Load()))
	}
	cp.rounds++
	cp.turn.Broadcast()
}

// checkpoint copies all of the WAL and lets it begin anew.
func (cp *Checkpointer) checkpoint() (result, error) {
	c, err := cp.connect()
	if err != nil {
		return blocked, err
	}
	if cp.unsynced.Load() { // nothing goes home before its WAL is on disk
		err := c.Exec("BEGIN IMMEDIATE")
		if err == nil {
			err = errors.Join(cp.mend(c), c.Rollback())
		}
		if err != nil {
			return blocked, err
		}
	}
	for range maxPasses {
		pages, copied, err := c.checkpoint(lib.SQLITE_CHECKPOINT_PASSIVE)
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

// checkpoint runs one checkpoint and returns how many pages the WAL had, and
// how many of them are in the database file.
func (c *Conn) checkpoint(mode int32) (pages, copied int64, err error) {
	log, ckpt := c.cells, c.cells+8
	rc := lib.Xsqlite3_wal_checkpoint_v2(c.TLS, c.DB, 0, mode, log, ckpt)
	return int64(*cmem.At[int32](log)), int64(*cmem.At[int32](ckpt)), c.Err(rc)
}

// HoldCheckpoints keeps the database's Checkpointer, if it has one, from
// working until c is closed, or releases them. It is for a connection that is about to read one
// state for long: a checkpoint cannot get past that, and whoever tries wastes
// its time. The WAL grows by all that is written meanwhile; so that it starts
// small, there is one checkpoint first, which HoldCheckpoints waits for.
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

// ReleaseCheckpoints ends c's hold, and returns when what has gathered in the
// WAL is copied back, or when that cannot be, or ctx ends. c's read transaction
// must have ended. Whoever commits with synchronous=FULL should wait for it: he
// would have all of that WAL synced, while he keeps the others from writing.
func (c *Conn) ReleaseCheckpoints(ctx context.Context) {
	if !c.holds {
		return
	}
	c.holds = false
	cp := c.checkpointer
	cp.release()
	defer context.AfterFunc(ctx, func() {
		cp.mu.Lock() // so that who has just looked at ctx is waiting by now
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
		// To copy what has gathered takes longer than usual: only writers that
		// double it meanwhile wait.
		pages := cp.pages.Load()
		cp.expect(max(cp.count(walStart), pages))
		cp.limit.Add(pages)
	}
	cp.mu.Unlock()
	cp.kick()
}
