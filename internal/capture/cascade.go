package capture

import (
	"github.com/driftdb/driftdb-go/internal/sqlite"
	lib "modernc.org/sqlite/lib"
)

// A migration that makes a table anew turns foreign keys off first, or the rows of other
// tables go with the old one. Within a transaction that PRAGMA does nothing, and SQLite
// does not say so.

// ranPragma looks whether query, which has just run, was to turn foreign keys off, and
// has not.
func (c *Conn) ranPragma(query string) {
	if name, argument := pragma(query); name != "FOREIGN_KEYS" || !argument || c.Autocommit() {
		return
	}
	switch w := words(query, 6); {
	case !says(w, "OFF", "0", "NO", "FALSE"), !c.Has(sqlite.ForeignKeys):
		return
	}
	c.r.keysStayed = true
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

// cascades notes that a row of table changes because another one does.
func (r *recorder) cascades(table []byte) {
	if r.keysStayed && r.cascade == "" && lib.Xsqlite3_preupdate_depth(r.c.TLS, r.c.DB) > 0 {
		r.cascade = string(table)
	}
}

// Cascaded is the table of which a transaction changed rows on behalf of another one's,
// although PRAGMA foreign_keys=OFF had been tried in it; "" if none did since the last
// call.
func (h *Hub) Cascaded() (table string) {
	if p := h.cascaded.Swap(nil); p != nil {
		return *p
	}
	return ""
}
