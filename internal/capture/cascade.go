package capture

import (
	"github.com/driftdb/driftdb-go/internal/sqlite"
	lib "modernc.org/sqlite/lib"
)

// cascade detects a mistake. A migration that rebuilds a table must turn foreign keys off
// first, or dropping the old table may delete rows of other tables. Within a transaction
// that PRAGMA has no effect, and SQLite reports no error.
type cascade struct {
	c      *sqlite.Conn
	stayed bool   // PRAGMA foreign_keys=OFF had no effect in this transaction
	table  string // the first table whose rows a trigger or foreign-key action then changed
}

// ran checks whether query, which has just run, tried to turn foreign keys off but did not.
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

// before is called before a statement: the transaction may have ended without a call to us.
func (k *cascade) before() { k.stayed = k.stayed && !k.c.Autocommit() }

// changes is called before a row of table changes. It records the table if the change is
// made by a trigger or a foreign-key action.
func (k *cascade) changes(table []byte) {
	if k.stayed && k.table == "" && lib.Xsqlite3_preupdate_depth(k.c.TLS, k.c.DB) > 0 {
		k.table = string(table)
	}
}

// committed reports the mistake.
func (k *cascade) committed(s *Shared) {
	if k.table != "" {
		s.noteCascade(k.table)
	}
}

func (k *cascade) reset() { k.stayed, k.table = false, "" }
