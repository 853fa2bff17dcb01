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

// Shared is what the connections of one database share.
type Shared struct {
	limit  int
	notify func(barrier string)
	wake   func() // see Wake

	sequence atomic.Int64 // of the last committed entry
	logged   atomic.Int64 // bytes of changes committed since this was made
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

// NewShared returns that of a database whose last entry is sequence. notify is
// called after every commit that was logged, on the goroutine that committed,
// with the reason of a barrier if the commit holds one; it must not block. A
// limit of 0 is DefaultLimit.
func NewShared(sequence int64, limit int, notify func(barrier string)) *Shared {
	if limit == 0 {
		limit = DefaultLimit
	}
	s := &Shared{limit: limit, notify: notify, made: time.Now()}
	s.sequence.Store(sequence)
	return s
}

// buffer makes that of a connection.
func (s *Shared) buffer() buffer { return buffer{limit: s.limit} }

// Sequence is the number of the last committed entry.
func (s *Shared) Sequence() int64 { return s.sequence.Load() }

// Advance says that the log ends with sequence now, by a commit that was not
// captured: the database was brought up to date with its bucket.
func (s *Shared) Advance(sequence int64) { s.raise(sequence) }

// Logged is how many bytes of changes have been committed so far.
func (s *Shared) Logged() int64 { return s.logged.Load() }

// Refuse makes every later commit that changes something fail with err.
func (s *Shared) Refuse(err error) { s.refused.Store(&err) }

// Refused is the error given to Refuse, or nil.
func (s *Shared) Refused() error {
	if p := s.refused.Load(); p != nil {
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
func (s *Shared) Contest(is bool) { s.contest.Store(is) }

// Contested says whether Contest was called with true last.
func (s *Shared) Contested() bool { return s.contest.Load() }

// Wake makes every commit that was logged call wake, as notify is called. It is set
// before anybody else may commit.
func (s *Shared) Wake(wake func()) { s.wake = wake }

// watchEvery is how old the watch's last word may be when a commit relies on it:
// it takes a tenth of a commit's time.
const watchEvery = 100 * time.Millisecond

// Watch makes commits call watch, at most every tenth of a second. An error of it
// refuses the commit, and every later one. It is set before the first commit,
// runs under SQLite's write lock, and must not use the database.
func (s *Shared) Watch(watch func() error) { s.watch = watch }

// mayCommit is called within each commit that changes something. An answer, or
// a commit that turns out to have changed nothing, contests nothing.
func (s *Shared) mayCommit(harmless bool) error {
	if err := s.Refused(); err != nil {
		return err
	}
	if s.Contested() && !harmless {
		return ErrContested
	}
	if s.watch == nil {
		return nil
	}
	now, last := int64(time.Since(s.made)), s.watched.Load()
	if last != 0 && now-last < int64(watchEvery) || !s.watched.CompareAndSwap(last, now) {
		return nil
	}
	if err := s.watch(); err != nil {
		s.Refuse(err)
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

// Setback is the first setback since this was made, or nil.
func (s *Shared) Setback() *Setback { return s.setback.Load() }

// timed looks at the time of a transaction and at that of the one before it.
func (s *Shared) timed(before, now int64) {
	if now < before-tolerance.Milliseconds() && s.setback.Load() == nil {
		s.setback.CompareAndSwap(nil, &Setback{Before: before, Time: now})
	}
}

// ownTables keeps the definitions of our tables that it is given first.
func (s *Shared) ownTables(found string) string {
	s.ownOnce.Do(func() { s.own = found })
	return s.own
}

// raise raises the sequence. Two commits may report out of order: SQLite has
// released the write lock by the time it tells us.
func (s *Shared) raise(sequence int64) {
	for {
		old := s.sequence.Load()
		if sequence <= old || s.sequence.CompareAndSwap(old, sequence) {
			return
		}
	}
}

func (s *Shared) committed(sequence int64, bytes int, barrier string) {
	s.logged.Add(int64(bytes))
	s.raise(sequence)
	if s.notify != nil {
		s.notify(barrier)
	}
	if s.wake != nil {
		s.wake()
	}
}

// Cascaded is the table of which a transaction changed rows on behalf of another one's,
// although PRAGMA foreign_keys=OFF had been tried in it; "" if none did since the last
// call.
func (s *Shared) Cascaded() (table string) {
	if p := s.cascaded.Swap(nil); p != nil {
		return *p
	}
	return ""
}

func (s *Shared) noteCascade(table string) { s.cascaded.Store(&table) }
