package sqlite

import (
	"errors"
	"sync"
)

// Ledger counts the commits that the connections of one process make to a WAL database, so
// that a foreign commit is noticed: by our next commit, under the write lock, or by any check.
//
// A connection takes part through Options.Ledger. SQLite's commit hook, which runs under the
// write lock, compares the header of the WAL-index with what the ledger knows, and then
// expects the counter to be one higher. If a commit fails after the hook, the rollback hook
// takes the count back. Anything else that goes wrong, such as a WAL-index that is rebuilt
// because a process died while writing it, looks like a foreign commit: there may be one
// notice too many, but not one too few.
//
// A notice is kept until it is answered: see Missed and Committed.
type Ledger struct {
	mu     sync.Mutex
	on     bool
	known  commit
	summed bool // known.sum is valid: it is unknown while a commit of ours is in progress

	reason   string // reason of the last notice
	noticed  int64
	answered int64
	promised int64    // the notice that the commit in progress answers if it succeeds
	unseen   []string // reasons of our commits that no hook sees
}

// Bypassed is the reason of a notice that another program has committed.
const Bypassed = "another program wrote to the file"

var errLedger = errors.New("sqlite: the WAL-index has another layout than 3007000; build with the version of modernc.org/sqlite that DriftDB's go.mod names")

// Start makes the present state of c's database the known one. c holds the write lock and has
// written nothing. Start returns the checksum of the last commit in the WAL, and whether the
// WAL holds any commit. Without a WAL nothing can be noticed.
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

// Missed returns what was noticed and is not answered yet: the reason, and a number to pass to
// Committed, which is 0 if there is nothing. c holds the write lock.
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

// compare checks the header found under the write lock against the known one.
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

// landed is called when the header is the known one. If a commit of ours was in progress, it
// has succeeded and its notice is answered: its maker may not have called Committed.
func (l *Ledger) landed() {
	if !l.summed {
		l.answered = max(l.answered, l.promised)
	}
}

func (l *Ledger) is(found commit) bool {
	return found.count == l.known.count && (!l.summed || found.sum == l.known.sum)
}

// LastSum is the checksum of the last commit in the WAL, as Ledger.Start returns it. c holds
// the write lock.
func (c *Conn) LastSum() uint64 {
	w := c.wal()
	if w == nil {
		return 0
	}
	return commitOf(shared(w)).sum
}

// Unmissed reports whether there is nothing to notice or answer. It takes none of SQLite's
// locks, and may return false while a commit of ours is in progress.
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

// Unseen is called before a statement whose commit no hook sees (VACUUM), and done after it.
// Anything noticed in between gets this reason.
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

// unhookedCommit makes c's last commit, which no hook has seen, the known one, and answers what
// was noticed before: the commit has replaced all of the database. A foreign commit that came
// after it is noticed as usual, because c has not read that.
func (c *Conn) unhookedCommit() {
	l, w := c.ledger, c.wal()
	if l == nil || w == nil {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.on {
		l.known, l.summed, l.answered = mine(w), true, l.noticed
	}
}

// hook makes c's commits known to its ledger. It refuses a commit of ours that follows a
// foreign one: after a crash, the last commit would be ours, and the foreign one would be
// forgotten. See IsBypassed.
func (c *Conn) hook() {
	c.Driver.RegisterCommitHook(func() int32 {
		if c.Committing(0) {
			return 1
		}
		return 0
	})
	c.Driver.RegisterRollbackHook(c.rolledBack)
}

// unhook undoes hook: the driver keeps hooks by handle, and handles are reused.
func (c *Conn) unhook() {
	c.Driver.RegisterCommitHook(nil)
	c.Driver.RegisterRollbackHook(nil)
}

// Committing does the work of the commit hook. Code that replaces the hook calls it with the
// notice that the commit answers, or 0. It reports whether there is something to answer; see
// Missed.
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

// Committed is called once a transaction of c has committed, before c runs another statement.
// It tells the ledger the commit's checksum, and that notice, unless it is 0, is answered.
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

// rolledBack is the rollback hook. It takes back what Committing counted if the commit has
// failed since then, for lack of disk space, say: the header is then still the earlier one.
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
