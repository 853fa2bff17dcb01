package changelog

import (
	"slices"
	"time"

	"github.com/driftdb/driftdb-go/internal/change"
	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// Barrier appends a barrier to the log, in c's transaction.
func Barrier(c *sqlite.Conn, reason string) error {
	last, err := Last(c)
	if err != nil {
		return err
	}
	cookie, err := c.Int("PRAGMA main.schema_version")
	if err != nil {
		return err
	}
	st, err := c.Cached("INSERT INTO main._driftdb_log(sequence, count, time, schema, data) VALUES(?1, 1, ?2, ?3, ?4)")
	if err != nil {
		return err
	}
	defer st.Release()
	st.BindInt64(1, last+1)
	st.BindInt64(2, time.Now().UnixMilli())
	st.BindInt64(3, cookie)
	st.BindBlob(4, change.AppendBarrier(change.AppendHeader(nil, nil), reason))
	return st.Run()
}

// Wrote says whether a commit that wrote these pages was one of ours. Each of
// ours adds a row to the log, trims it, or writes another of our tables; so it
// has written a page at an edge of the log, or any of the others, which are
// small, and nobody else has.
//
// Where SQLite moves pages about to make the file smaller (auto_vacuum), anybody
// may have written our pages, and nothing can be told: Wrote says no.
func Wrote(c *sqlite.Conn, pages []uint32) (found bool, err error) {
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
