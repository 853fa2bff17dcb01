package capture

import (
	"errors"
	"sync"
	"sync/atomic"
	"time"
)

// DefaultLimit is how many bytes of changes one transaction may buffer: about
// 250,000 rows of a few short columns. They take memory in addition to SQLite's
// page cache, and again when they are read for upload.
const DefaultLimit = 24 << 20

// Shared is the state that the connections of one database share.
type Shared struct {
	limit  int
	notify func(barrier string)
	wake   func() // see Wake

	sequence atomic.Int64 // of the last committed entry
	logged   atomic.Int64 // bytes of changes committed since NewShared
	refused  atomic.Pointer[error]
	contest  atomic.Bool
	setback  atomic.Pointer[Setback]
	cascaded atomic.Pointer[string]

	watch   func() error // see Watch
	made    time.Time
	watched atomic.Int64 // when watch was last called, as nanoseconds since made

	ownOnce sync.Once
	own     string // definitions of our tables, as the first connection found them
}

// NewShared returns the shared state of a database whose last entry is sequence.
// notify is called after every logged commit, on the goroutine that committed, with
// the reason of a barrier if the commit holds one; it must not block. A limit of 0
// means DefaultLimit.
func NewShared(sequence int64, limit int, notify func(barrier string)) *Shared {
	if limit == 0 {
		limit = DefaultLimit
	}
	s := &Shared{limit: limit, notify: notify, made: time.Now()}
	s.sequence.Store(sequence)
	return s
}

// buffer makes a connection's buffer.
func (s *Shared) buffer() buffer { return buffer{limit: s.limit} }

// Sequence returns the number of the last committed entry.
func (s *Shared) Sequence() int64 { return s.sequence.Load() }

// Advance sets the last sequence number after a commit that was not captured: the
// database was brought up to date with its bucket.
func (s *Shared) Advance(sequence int64) { s.raise(sequence) }

// Logged returns how many bytes of changes have been committed since NewShared.
func (s *Shared) Logged() int64 { return s.logged.Load() }

// Refuse makes every later commit that changes something fail with err.
func (s *Shared) Refuse(err error) { s.refused.Store(&err) }

// Refused returns the error given to Refuse, or nil.
func (s *Shared) Refused() error {
	if p := s.refused.Load(); p != nil {
		return *p
	}
	return nil
}

// ErrContested is returned for a commit that was refused because the last writer of the
// history was another node. The history must be taken over first; then the transaction can
// be run again at once.
var ErrContested = errors.New("another node was the last writer of this database")

// Contest makes every commit that changes something fail with ErrContested, until it is
// called with false. Our own barriers and connections with Conn.Admit are exempt.
func (s *Shared) Contest(is bool) { s.contest.Store(is) }

// Contested reports whether Contest was last called with true.
func (s *Shared) Contested() bool { return s.contest.Load() }

// Wake makes every logged commit call wake, after notify. It must be called before other
// connections can commit.
func (s *Shared) Wake(wake func()) { s.wake = wake }

// watchEvery is how old the last result of watch may be for a commit to rely on it.
// Calling watch each time would cost a tenth of a commit's time.
const watchEvery = 100 * time.Millisecond

// Watch makes commits call watch, at most every tenth of a second. If watch returns
// an error, this commit and every later one are refused. Watch must be called before
// the first commit; watch runs under SQLite's write lock and must not use the database.
func (s *Shared) Watch(watch func() error) { s.watch = watch }

// mayCommit is called within each commit that our virtual table takes part in. A
// harmless commit cannot be contested: it changes nothing, is one of our own
// barriers, or is admitted.
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

// Setback is a transaction with an earlier time than the transaction before it: the
// clock was set back in between.
type Setback struct{ Before, Time int64 } // Unix ms

// tolerance is how far a clock may go back without counting as set back: time
// synchronization makes such small steps.
const tolerance = time.Second

// Setback returns the first setback since NewShared, or nil.
func (s *Shared) Setback() *Setback { return s.setback.Load() }

// timed compares the time of a transaction with the time of the one before it.
func (s *Shared) timed(before, now int64) {
	if now < before-tolerance.Milliseconds() && s.setback.Load() == nil {
		s.setback.CompareAndSwap(nil, &Setback{Before: before, Time: now})
	}
}

// ownTables keeps the definitions of our tables from its first call and returns them.
func (s *Shared) ownTables(found string) string {
	s.ownOnce.Do(func() { s.own = found })
	return s.own
}

// raise sets the sequence unless it is higher already. Two commits may report out of
// order, because SQLite releases the write lock before it calls us.
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

// Cascaded returns a table whose rows a trigger or foreign-key action changed in a
// transaction that had tried PRAGMA foreign_keys=OFF, or "" if there was none since the
// last call.
func (s *Shared) Cascaded() (table string) {
	if p := s.cascaded.Swap(nil); p != nil {
		return *p
	}
	return ""
}

func (s *Shared) noteCascade(table string) { s.cascaded.Store(&table) }
