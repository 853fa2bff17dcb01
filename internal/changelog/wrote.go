package changelog

import (
	"slices"

	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// Wrote says whether a commit that wrote these pages was one of ours. Each of
// ours writes a row of the log, the queue or the books, or trims the log; so it
// has written a page at an edge of one of our tables, which nobody else has.
//
// Where SQLite moves pages about to make the file smaller (auto_vacuum), anybody
// may have written our pages, and nothing can be told: Wrote says no.
func Wrote(c *sqlite.Conn, pages []uint32) (bool, error) {
	if moves, err := c.Int("PRAGMA main.auto_vacuum"); err != nil || moves != 0 {
		return false, err
	}
	found := false
	err := c.Each(`SELECT rootpage FROM main.sqlite_schema WHERE tbl_name LIKE '\_driftdb\_%' ESCAPE '\' AND type = 'table'`, func(st *sqlite.Stmt) error {
		edges, err := c.Edges(uint32(st.Int64(0)))
		found = found || slices.ContainsFunc(edges, func(p uint32) bool { return slices.Contains(pages, p) })
		return err
	})
	return found, err
}
