package capture

import (
	"github.com/driftdb/driftdb-go/internal/sqlite"
	lib "modernc.org/sqlite/lib"
)

// cascade watches for a mistake. A migration that makes a table anew turns foreign keys
// off first, or the rows of other tables go with the old one. Within a transaction that
// PRAGMA does nothing, and SQLite does not say so.
type cascade struct {
	c      *sqlite.Conn
	stayed bool   // PRAGMA foreign_keys=OFF had no effect in this transaction
	table  string // the first whose rows it then changed on behalf of others
}

// ran looks whether query, which has just run, was to turn foreign keys off, and has not.
func (k *cascade) ran(query string) {
	if name, argument := pragma(query); name != "FOREIGN_KEYS" || !argument || k.c.Autocommit() {
		return
	}
	if says(words(query, 6), "OFF", "0", "NO", "FALSE") && k.c.Has(sqlite.ForeignKeys) {
		k.stayed = true
	}
}

func says(words []string, values ...string) bool {
	for _, w := range words {
		for _, v := range values {
			if w == v {
				return true
			}
		}
	}
	return false
}

// before comes before a statement: the transaction may have ended without us.
func (k *cascade) before() { k.stayed = k.stayed && !k.c.Autocommit() }

// changes notes that a row of table changes because another one does.
func (k *cascade) changes(table []byte) {
	if k.stayed && k.table == "" && lib.Xsqlite3_preupdate_depth(k.c.TLS, k.c.DB) > 0 {
		k.table = string(table)
	}
}

// committed tells of the mistake.
func (k *cascade) committed(s *Shared) {
	if k.table != "" {
		s.noteCascade(k.table)
	}
}

func (k *cascade) reset() { k.stayed, k.table = false, "" }
