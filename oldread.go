package driftdb

import (
	"time"

	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// oldRead is the age from which on a read that keeps the WAL from being cut is
// warned of.
const oldRead = time.Minute

// oldestRead is the age of the oldest read of the program's own.
func (db *DB) oldestRead() time.Duration {
	return max(db.readers.OldestRead(), db.lender.OldestRead())
}

// warnOfRead warns of a read that lasts while the WAL outgrows its limit: once, and
// again whenever its age has doubled.
func (g *guard) warnOfRead(db *DB) {
	age, size := db.oldestRead(), sizeOf(db.path+"-wal")
	if age < g.warned {
		g.warned = 0 // that one has ended
	}
	if size <= sqlite.WALLimit || age < max(oldRead, 2*g.warned) {
		return
	}
	g.warned = age
	db.log.Warn("a read has been open for long, and the WAL grows until it ends; look for a sql.Rows that is not closed, a loop over rows that does not end, or a ReadTx that does not return",
		"scope", "checkpoint", "age", age.Round(time.Second), "walBytes", size)
}
