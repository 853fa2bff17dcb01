package capture

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

// DefaultLimit is how many bytes of changes one transaction may buffer: some
// 250,000 rows of a few short columns. They are in memory beside SQLite's page
// cache, and again when they are read for the bucket.
const DefaultLimit = 24 << 20

// Hub is what the connections of one database share.
type Hub struct {
	limit  int
	notify func(barrier string)
	wake   func() // see Wake

	sequence atomic.Int64 // of the last committed entry
	logged   atomic.Int64 // bytes of changes committed since the hub was made
	refused  atomic.Pointer[error]
	contest  atomic.Bool
	setback  atomic.Pointer[Setback]
	cascaded atomic.Pointer[string]

	watch   func() error // see Watch
	made    time.Time
	watched atomic.Int64 // when watch was called last, since made

	ownOnce sync.Once
	own     string // definitions of our tables, as the first connection found them
}

// NewHub returns a hub for a database whose last entry is sequence. notify is
// called after every commit that was logged, on the goroutine that committed,
// with the reason of a barrier if the commit holds one; it must not block. A
// limit of 0 is DefaultLimit.
func NewHub(sequence int64, limit int, notify func(barrier string)) *Hub {
	if limit == 0 {
		limit = DefaultLimit
	}
	h := &Hub{limit: limit, notify: notify, made: time.Now()}
	h.sequence.Store(sequence)
	return h
}

// Sequence is the number of the last committed entry.
func (h *Hub) Sequence() int64 { return h.sequence.Load() }

// Advance says that the log ends with sequence now, by a commit that was not
// captured: the database was brought up to date with its bucket.
func (h *Hub) Advance(sequence int64) { h.raise(sequence) }

// Logged is how many bytes of changes have been committed so far.
func (h *Hub) Logged() int64 { return h.logged.Load() }

// Refuse makes every later commit that changes something fail with err.
func (h *Hub) Refuse(err error) { h.refused.Store(&err) }

// Refused is the error given to Refuse, or nil.
func (h *Hub) Refused() error {
	if p := h.refused.Load(); p != nil {
		return *p
	}
	return nil
}

// ErrContested says that a commit was not made, and can be made again at once: the
// history had its last writer elsewhere, and has to be taken over first.
var ErrContested = errors.New("another node was the last writer of this database")

// Contest makes every commit that changes something fail with ErrContested, until it is
// called with false. Barriers that answer for what others have committed pass, and what
// has been admitted.
func (h *Hub) Contest(is bool) { h.contest.Store(is) }

// Contested says whether Contest was called with true last.
func (h *Hub) Contested() bool { return h.contest.Load() }

// Wake makes every commit that was logged call wake, as notify is called. It is set
// before anybody else may commit.
func (h *Hub) Wake(wake func()) { h.wake = wake }

// watchEvery is how old the watch's last word may be when a commit relies on it:
// it takes a tenth of a commit's time.
const watchEvery = 100 * time.Millisecond

// Watch makes commits call watch, at most every tenth of a second. An error of it
// refuses the commit, and every later one. It is set before the first commit,
// runs under SQLite's write lock, and must not use the database.
func (h *Hub) Watch(watch func() error) { h.watch = watch }

// mayCommit is called within each commit that changes something. An answer, or
// a commit that turns out to have changed nothing, contests nothing.
func (h *Hub) mayCommit(harmless bool) error {
	if err := h.Refused(); err != nil {
		return err
	}
	if h.Contested() && !harmless {
		return ErrContested
	}
	if h.watch == nil {
		return nil
	}
	now, last := int64(time.Since(h.made)), h.watched.Load()
	if last != 0 && now-last < int64(watchEvery) || !h.watched.CompareAndSwap(last, now) {
		return nil
	}
	if err := h.watch(); err != nil {
		h.Refuse(err)
		return err
	}
	return nil
}

// Setback is a transaction whose time is earlier than that of the one before it:
// the clock was set back in between.
type Setback struct{ Before, Time int64 } // Unix ms

// tolerance is how far a clock may go back and count as right: such a small step
// comes from one that is being kept right.
const tolerance = time.Second

// Setback is the first setback since the hub was made, or nil.
func (h *Hub) Setback() *Setback { return h.setback.Load() }

// timed looks at the time of a transaction and at that of the one before it.
func (h *Hub) timed(before, now int64) {
	if now < before-tolerance.Milliseconds() && h.setback.Load() == nil {
		h.setback.CompareAndSwap(nil, &Setback{Before: before, Time: now})
	}
}

// ownTables keeps the definitions of our tables that it is given first.
func (h *Hub) ownTables(found string) string {
	h.ownOnce.Do(func() { h.own = found })
	return h.own
}

// raise raises the sequence. Two commits may report out of order: SQLite has
// released the write lock by the time it tells us.
func (h *Hub) raise(sequence int64) {
	for {
		old := h.sequence.Load()
		if sequence <= old || h.sequence.CompareAndSwap(old, sequence) {
			return
		}
	}
}

func (h *Hub) committed(sequence int64, bytes int, barrier string) {
	h.logged.Add(int64(bytes))
	h.raise(sequence)
	if h.notify != nil {
		h.notify(barrier)
	}
	if h.wake != nil {
		h.wake()
	}
}
