package sqlite

import (
	"strings"
	"sync/atomic"
	"time"
)

// To begin a read transaction and to end it takes several times as long as to find a row.
// So a pool's connection keeps the transaction of its last read, its snapshot, for the
// next one, which uses it if nobody has committed since, in whatever process: the header
// of the WAL-index, in memory that all processes share, is then the one that the snapshot
// began with. Every commit changes the header before it returns.
//
// A snapshot keeps the WAL from beginning anew, so none is kept for longer than a term,
// however often it is used: another process that checkpoints waits no longer than that.
// While the database's own Checkpointer works, none is kept at all.

// termLength is how long a term lasts.
const termLength = 5 * time.Millisecond

// term is the number of a term. In one that is odd, no snapshot is kept.
type term struct{ atomic.Uint64 }

func (t *term) keeps() bool { return t.Load()%2 == 0 }

// freshen makes the statement that follows see the newest commit. Only one that selects
// may find itself in a transaction that it has not begun.
func (c *Conn) freshen(query string, term *term) error {
	now := term.Load()
	if c.keeps {
		if c.keptIn == now && selects(query) && c.newest() {
			return nil
		}
		if err := c.giveUp(); err != nil {
			return err
		}
	}
	if !term.keeps() || !selects(query) || !c.keepable() {
		return nil
	}
	if err := c.Do("BEGIN"); err != nil { // the snapshot is taken by the statement
		return err
	}
	c.keeps, c.keptIn = true, now
	return nil
}

// selects says that query only reads: a PRAGMA or an ATTACH would notice a transaction.
func selects(query string) bool {
	const word = "SELECT"
	query = strings.TrimLeft(query, " \t\r\n")
	return len(query) > len(word) && strings.EqualFold(query[:len(word)], word)
}

// keepsFor says that c keeps a snapshot that may be kept on.
func (c *Conn) keepsFor(term *term) bool {
	return c.keeps && term.keeps() && c.keptIn == term.Load() && !c.Autocommit()
}

// giveUp ends the transaction that the connection keeps, if it keeps one.
func (c *Conn) giveUp() error {
	if !c.keeps {
		return nil
	}
	c.keeps = false
	if c.Autocommit() { // an error has ended it
		return nil
	}
	if c.Do("COMMIT") == nil {
		return nil
	}
	return c.Rollback()
}
