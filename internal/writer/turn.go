package writer

import (
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// turn is the right to write: to use the writer's connection, or to take SQLite's write lock
// on a connection of DB.SQL. All writers of the process share it, in the order of asking, with
// two exceptions. Where readers keep all processors busy, a goroutine that is woken does not
// run before others have used up their time slices, so a turn that was always handed over
// would mostly stand still.
//
//   - Whoever leaves the turn does the work that waits, if it needs no code of its caller:
//     see group.go.
//   - A turn that is free can be taken at once, ahead of claims that were woken and do not run
//     yet. A claim that has lost patience is handed the turn.
//
// And whoever ends a read, or leaves the turn, gives way to claimants that do not get to run.
type turn struct {
	limit time.Duration // how long a claim waits while the turn is lent

	mu      sync.Mutex
	held    bool
	lent    bool        // held by a connection of DB.SQL, for as long as the program likes
	waiting []*claim    // oldest first
	overdue *time.Timer // runs while claims may be waiting for a turn that is lent

	woken int          // how many claimants were woken and do not run yet
	still atomic.Int64 // since which moment none of them has run; 0: there are none

	handed   time.Time     // when the turn was last handed over
	patience time.Duration // how long a claim may be overtaken
}

// A claim may be overtaken for patienceFor times as long as it took the last claimant that was
// handed the turn to run: that is how long the turn stands still for it.
const (
	patienceFor = 2
	minPatience = 100 * time.Microsecond
	maxPatience = 25 * time.Millisecond
)

// claim is a wait for the turn.
type claim struct {
	asked time.Time
	work  *work         // whoever has the turn may do it; nil: the claimant must have it itself
	ready chan struct{} // capacity 1: the state has changed, or the turn may be free

	state claimState // under turn.mu
	err   error      // of a claim that is over
}

type claimState int

const (
	waits   claimState = iota
	granted            // it has the turn
	taken              // its work is being done
	over               // its work is done, or it was refused
)

// signal makes a claimant look at its claim. The caller holds mu.
func (t *turn) signal(c *claim) {
	select {
	case c.ready <- struct{}{}:
		if t.woken++; t.woken == 1 {
			t.still.Store(sqlite.Moment())
		}
	default: // it has not looked since the last signal
	}
}

// try takes the turn if it is free. crowded reports whether work waits that can be done with
// the caller's.
func (t *turn) try() (ok, crowded bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.take(), t.crowded()
}

func (t *turn) take() bool {
	if t.held {
		return false
	}
	t.held = true
	return true
}

// works returns how many pieces of work wait.
func (t *turn) works() (n int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, c := range t.waiting {
		if c.work != nil {
			n++
		}
	}
	return n
}

func (t *turn) crowded() bool {
	return slices.ContainsFunc(t.waiting, func(c *claim) bool { return c.work != nil })
}

// ask waits for the turn: it takes it at once, which grants the claim, or queues it.
func (t *turn) ask(c *claim) {
	c.ready = make(chan struct{}, 1)
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.take() {
		c.state = granted
		t.signal(c)
		return
	}
	c.asked = time.Now()
	t.waiting = append(t.waiting, c)
	t.watch()
}

// look returns the state of a claim. It is called after each signal, and takes the turn if it is
// free.
func (t *turn) look(c *claim) claimState {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.runs()
	switch {
	case c.state == waits && t.take():
		t.drop(c)
		c.state = granted
	case c.state == granted && !t.handed.IsZero():
		t.patience = min(max(patienceFor*time.Since(t.handed), minPatience), maxPatience)
		t.handed = time.Time{}
	}
	return c.state
}

// runs notes that a claimant runs that was woken. The caller holds mu.
func (t *turn) runs() {
	if t.woken--; t.woken == 0 {
		t.still.Store(0)
	} else {
		t.still.Store(sqlite.Moment())
	}
}

// standstill is how long claimants that were woken may wait for a processor before others give way.
// Go's scheduler would let each goroutine that is busy use its slice of 10 ms first.
const standstill = 2 * time.Millisecond

// giveWay lets other goroutines run first if none of the claimants that were woken has run for
// standstill. The caller holds no lock.
func (t *turn) giveWay() {
	if since := t.still.Load(); since != 0 && sqlite.Moment()-since > int64(standstill) {
		runtime.Gosched()
	}
}

// withdraw takes back a claim. It returns false if the claim is over or its work is being done: a
// signal has come or comes. A turn that was granted meanwhile goes to the next one.
func (t *turn) withdraw(c *claim) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch c.state {
	case waits:
		t.drop(c)
		if !t.held {
			t.next() // the signal may have been for c
		}
	case granted:
		t.next()
	default:
		return false
	}
	c.state = over
	select {
	case <-c.ready:
		t.runs()
	default:
	}
	return true
}

func (t *turn) drop(c *claim) {
	t.waiting = slices.DeleteFunc(t.waiting, func(w *claim) bool { return w == c })
}

// collect appends up to n pieces of work that wait to dst. The caller has the turn, does them,
// and calls finish.
func (t *turn) collect(dst []*work, n int) []*work {
	t.mu.Lock()
	defer t.mu.Unlock()
	rest := t.waiting[:0]
	for _, c := range t.waiting {
		if c.work == nil || len(dst) >= n {
			rest = append(rest, c)
			continue
		}
		c.state = taken
		dst = append(dst, c.work)
	}
	clear(t.waiting[len(rest):])
	t.waiting = rest
	return dst
}

// finish tells the claimants that their work is done.
func (t *turn) finish(done []*work) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, p := range done {
		if p.claim.state == taken {
			p.claim.state = over
			t.signal(&p.claim)
		}
	}
}

// release gives up the turn.
func (t *turn) release() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.next()
}

// next frees the turn, or hands it to a claim that has lost patience. Otherwise it wakes the
// oldest claim, and the oldest with work: the one does not need the other.
func (t *turn) next() {
	t.held, t.lent = false, false
	if len(t.waiting) == 0 {
		return
	}
	first := t.waiting[0]
	if first.work == nil && time.Since(first.asked) > t.patience {
		t.waiting = slices.Delete(t.waiting, 0, 1)
		t.held, first.state, t.handed = true, granted, time.Now()
	}
	t.signal(first)
	if first.work == nil {
		if i := slices.IndexFunc(t.waiting, func(c *claim) bool { return c.work != nil }); i >= 0 && !t.held {
			t.signal(t.waiting[i])
		}
	}
}

// lend marks the turn, which the caller has, as lent.
func (t *turn) lend() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lent = true
	t.watch()
}

// watch sees to it that no claim waits longer than limit for a turn that is lent: its holder may
// be the claimant itself. The caller holds mu.
func (t *turn) watch() {
	if t.lent && len(t.waiting) > 0 && t.overdue == nil && t.limit > 0 {
		t.overdue = time.AfterFunc(t.limit-time.Since(t.waiting[0].asked), t.refuse)
	}
}

// errLent is the error of a claim that has waited too long.
var errLent = sqlite.Busy("database is locked: a transaction of DB.SQL has not ended within BusyTimeout")

// refuse ends the claims that have waited for limit, if the turn is lent.
func (t *turn) refuse() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.overdue = nil
	for t.lent && t.limit > 0 && len(t.waiting) > 0 && time.Since(t.waiting[0].asked) >= t.limit {
		c := t.waiting[0]
		t.waiting = slices.Delete(t.waiting, 0, 1)
		c.state, c.err = over, errLent
		t.signal(c)
	}
	t.watch()
}

// stop ends the watch. Close takes back what is lent.
func (t *turn) stop() {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.limit = 0; t.overdue != nil {
		t.overdue.Stop()
	}
}
