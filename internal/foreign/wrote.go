package foreign

import (
	"slices"

	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// wrote reports whether a commit that wrote these pages was ours. Each commit of ours adds a
// row to the log, trims it, or writes another of our tables. So it has written a page at an
// edge of the log, or one of our other tables' pages, which are few, and no other program
// writes those.
//
// Where SQLite moves pages to shrink the file (auto_vacuum), any program may have written our
// pages and nothing can be told, so wrote returns false.
func wrote(c *sqlite.Conn, pages []uint32) (found bool, err error) {
	if moves, err := c.Int("PRAGMA main.auto_vacuum"); err != nil || moves != 0 {
		return false, err
	}
	root, err := c.Int("SELECT rootpage FROM main.sqlite_schema WHERE name = '_driftdb_log'")
	if err != nil {
		return false, err
	}
	edges, err := c.Edges(uint32(root))
	if err != nil {
		return false, err
	}
	ours := map[uint32]bool{}
	for _, p := range edges {
		ours[p] = true
	}
	err = c.Each(`SELECT pageno FROM dbstat WHERE name IN (SELECT name FROM main.sqlite_schema
		WHERE tbl_name LIKE '\_driftdb\_%' ESCAPE '\' AND tbl_name <> '_driftdb_log')`, func(st *sqlite.Stmt) error {
		ours[uint32(st.Int64(0))] = true
		return nil
	})
	return slices.ContainsFunc(pages, func(p uint32) bool { return ours[p] }), err
}
