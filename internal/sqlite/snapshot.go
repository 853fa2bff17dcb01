package sqlite

import (
	"strings"
	"sync/atomic"
	"time"
)

// Beginning and ending a read transaction takes several times as long as finding a row. So a
// pool's connection keeps the transaction of its last read, its snapshot, for the next read.
// The next read uses it if no process has committed since: the header of the WAL-index, in
// memory that all processes share, is then still the one that the snapshot began with. Every
// commit changes the header before it returns.
//
// A snapshot keeps the WAL from restarting, so each one is given up at the end of its term,
// however often it is used, and none is kept while a checkpoint runs. The database's own
// Checkpointer announces its checkpoints. Any other checkpointer, in whatever process, waits
// for a moment without readers, and readers that each keep a snapshot almost all the time
// would never leave one: so the first read of a term checks whether a checkpointer is waiting.

// termLength is how long a term lasts.
const termLength = 5 * time.Millisecond

// term is what a pool's connections share about the current term.
type term struct {
	number atomic.Uint64 // odd: no snapshot is kept in this term
	looked atomic.Uint64 // the last term in which a reader looked for a checkpoint …
	found  atomic.Bool   // … and whether there was one
}

func (t *term) keeps() bool { return t.number.Load()%2 == 0 }

// freshen makes the statement that follows see the newest commit. Only a SELECT may find
// itself in a transaction that it has not begun.
func (c *Conn) freshen(query string, t *term) error {
	now := t.number.Load()
	if c.keeps {
		if c.keptIn == now && selects(query) && c.newest() {
			return nil
		}
		if err := c.giveUp(); err != nil {
			return err
		}
	}
	if !selects(query) || !c.mayKeep(t, now) {
		return nil
	}
	if err := c.Do("BEGIN"); err != nil { // the statement takes the snapshot
		return err
	}
	c.keeps, c.keptIn = true, now
	return nil
}

// mayKeep reports whether c, which keeps no snapshot, may do so in the current term, whose
// number is now.
func (c *Conn) mayKeep(t *term, now uint64) bool {
	if !t.keeps() || !c.keepable() {
		return false
	}
	if t.looked.Swap(now) != now {
		t.found.Store(c.checkpointed())
	}
	return !t.found.Load()
}

// selects reports whether query only reads: a PRAGMA or an ATTACH would notice a transaction.
func selects(query string) bool {
	const word = "SELECT"
	for query != "" && strings.IndexByte(" \t\r\n", query[0]) >= 0 {
		query = query[1:]
	}
	return len(query) > len(word) && strings.EqualFold(query[:len(word)], word)
}

// keepsFor reports whether c has a snapshot that may still be kept.
func (c *Conn) keepsFor(t *term) bool {
	return c.keeps && t.keeps() && c.keptIn == t.number.Load() && !c.Autocommit()
}

// giveUp ends the transaction that the connection keeps, if any.
func (c *Conn) giveUp() error {
	if !c.keeps {
		return nil
	}
	c.keeps = false
	if c.Autocommit() { // an error has already ended it
		return nil
	}
	if c.Do("COMMIT") == nil {
		return nil
	}
	return c.Rollback()
}
