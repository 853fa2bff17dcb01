package sqlite

import (
	"errors"
	"sync"
)

// Ledger counts the commits that the connections of one process make to a WAL
// database, so that a commit of anybody else's is noticed: by the next of ours,
// under the write lock, or by whoever looks.
//
// A connection takes part by Options.Ledger. SQLite's commit hook, which runs
// under the write lock, compares the header of the WAL-index with what the
// ledger knows, and expects the counter to be one higher afterwards. A commit
// that fails behind the hook is taken back by the rollback hook. Whatever else
// goes wrong, such as a WAL-index that is made anew because a process died in
// the middle of writing it, looks like a foreign commit: there may be one
// notice too many, not one too few.
//
// What was noticed is kept until it is answered: see Missed and Committed.
type Ledger struct {
	mu     sync.Mutex
	on     bool
	known  commit
	summed bool // known.sum counts: it is not known while a commit of ours is on its way

	reason   string // of the last notice
	noticed  int64
	answered int64
	promised int64    // the notice that the commit on its way answers, if it goes through
	unseen   []string // reasons of commits of ours that no hook sees
}

// Bypassed is the reason of a notice that somebody else has committed.
const Bypassed = "another program wrote to the file"

var errLedger = errors.New("sqlite: the WAL-index has another layout than 3007000; build with the version of modernc.org/sqlite that DriftDB's go.mod names")

// Start makes the present state of c's database the known one. c holds the
// write lock, and has written nothing. It returns the checksum of the last commit in the WAL, and
// whether the WAL holds any; without a WAL nothing can be noticed.
func (l *Ledger) Start(c *Conn) (sum uint64, inWAL bool, err error) {
	w := c.wal()
	if w == nil {
		return 0, false, nil
	}
	if !familiar(w) {
		return 0, false, errLedger
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.on, l.known, l.summed = true, commitOf(shared(w)), true
	return l.known.sum, holds(w), nil
}

// Missed says what was noticed and is not answered yet: the reason, and a
// number for Committed, which is 0 if there is nothing. c holds the write lock.
func (c *Conn) Missed() (reason string, notice int64) {
	l := c.ledger
	if l == nil {
		return "", 0
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if w := c.wal(); w != nil && l.on {
		l.compare(commitOf(shared(w)))
	}
	return l.open()
}

func (l *Ledger) open() (string, int64) {
	if l.noticed == l.answered {
		return "", 0
	}
	return l.reason, l.noticed
}

// compare looks, under the write lock, at the header that is found.
func (l *Ledger) compare(found commit) {
	if l.is(found) {
		l.landed()
		return
	}
	reason := Bypassed
	if n := len(l.unseen); n > 0 {
		reason = l.unseen[n-1]
	}
	l.reason, l.noticed = reason, l.noticed+1
	l.known, l.summed = found, true
}

// landed is called when the header is the one that is known. If a commit of
// ours was on its way it has gone through, and its answer with it: who made it
// may not have come to say so.
func (l *Ledger) landed() {
	if !l.summed {
		l.answered = max(l.answered, l.promised)
	}
}

func (l *Ledger) is(found commit) bool {
	return found.count == l.known.count && (!l.summed || found.sum == l.known.sum)
}

// LastSum is the checksum of the last commit in the WAL, as Ledger.Start returns
// it. c holds the write lock.
func (c *Conn) LastSum() uint64 {
	w := c.wal()
	if w == nil {
		return 0
	}
	return commitOf(shared(w)).sum
}

// Unmissed says whether nothing is to be noticed or answered. It takes no lock
// of SQLite's; while a commit of ours is on its way it may say false.
func (c *Conn) Unmissed() bool {
	l := c.ledger
	if l == nil {
		return true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if w := c.wal(); w != nil && l.on {
		found, ok := peek(w)
		if !ok || !l.is(found) {
			return false
		}
		l.landed()
	}
	_, notice := l.open()
	return notice == 0
}

// Unseen is called before a statement whose commit no hook sees, which is
// VACUUM, and done after it. What is noticed meanwhile gets this reason.
func (c *Conn) Unseen(reason string) (done func()) {
	l := c.ledger
	if l == nil {
		return func() {}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.unseen = append(l.unseen, reason)
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.unseen = l.unseen[:len(l.unseen)-1]
	}
}

// hook makes c's commits known to its ledger. It refuses those that come after
// a foreign one: after a crash, the last commit would be ours, and the foreign
// one forgotten. See IsBypassed.
func (c *Conn) hook() {
	c.Driver.RegisterCommitHook(func() int32 {
		if c.Committing(0) {
			return 1
		}
		return 0
	})
	c.Driver.RegisterRollbackHook(c.rolledBack)
}

// unhook undoes hook: the driver keeps hooks by handle, and handles are used
// again.
func (c *Conn) unhook() {
	c.Driver.RegisterCommitHook(nil)
	c.Driver.RegisterRollbackHook(nil)
}

// Committing is what the commit hook does; whoever replaces the hook calls it,
// with the notice that the commit answers, or 0. It says whether there is
// something to answer, see Missed.
func (c *Conn) Committing(notice int64) (missed bool) {
	l, w := c.ledger, c.wal()
	if l == nil || w == nil || !c.WritesMain() {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.on {
		return false
	}
	found := commitOf(shared(w))
	l.compare(found)
	c.before, c.counted = found, true
	l.known.count, l.summed, l.promised = found.count+1, false, notice
	_, open := l.open()
	return open != 0
}

// Committed is called when a transaction of c's has been committed, before c
// runs another statement. The ledger learns the commit's checksum, and that the
// notice, unless it is 0, has been answered.
func (c *Conn) Committed(notice int64) {
	l, w := c.ledger, c.wal()
	if l == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.answered = max(l.answered, notice)
	if w == nil {
		return
	}
	if last := mine(w); last.count == l.known.count && !l.summed {
		l.known, l.summed = last, true
	}
}

// rolledBack is the rollback hook. It takes back what Committing has counted if
// the commit has failed since, for want of disk space say: then the header is
// still the one from before.
func (c *Conn) rolledBack() {
	l, w := c.ledger, c.wal()
	if w == nil || !c.counted {
		return
	}
	c.counted = false
	l.mu.Lock()
	defer l.mu.Unlock()
	if mine(w) == c.before && l.known.count == c.before.count+1 && !l.summed {
		l.known, l.summed = c.before, true
	}
}
