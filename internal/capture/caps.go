package capture

import (
	"fmt"
	"strings"
)

// Our virtual tables of a connection, temp._driftdb_cap0, 1, 2 …: the first
// joins every transaction, a further one comes after each virtual table of the
// user's that joins.

// spareCaps is how many virtual tables one transaction may create and use.
const spareCaps = 2

// makeCaps sees to it that our virtual tables are there (PRAGMA temp_store
// drops everything in temp) and that there are enough of them: one, one more
// for each virtual table of main, and some spare. It is called outside
// transactions only, since a rollback would take them away. What is missing
// fails the commit or becomes a barrier when it is needed.
func (r *recorder) makeCaps() {
	have, err := r.c.Int(`SELECT count(*) FROM temp.sqlite_schema WHERE name LIKE '\_driftdb\_cap%' ESCAPE '\'`)
	if err != nil {
		return
	}
	if r.virtual, err = r.c.VirtualTables(); err != nil {
		return
	}
	want := 1 + spareCaps + len(r.virtual)
	if int(have) < len(r.caps) {
		for _, st := range r.caps {
			st.Finalize()
		}
		r.caps = nil
	}
	defer func(was bool) { r.unsettled = was }(r.unsettled) // these commits move no counter
	for len(r.caps) < want {
		if err := r.addCap(); err != nil {
			return
		}
	}
}

// writesVirtual says whether a statement writes a virtual table, and is all of its
// transaction. A table like FTS5 may put off all its own writing until the commit, when it
// is too late for us to join: the statement needs a transaction in which one of ours can
// still come after it.
func (c *Conn) writesVirtual(text string) bool {
	if len(c.r.virtual) == 0 || !c.Autocommit() {
		return false
	}
	if words(text, 1)[0] != "WITH" {
		return c.r.virtual[written(text)]
	}
	upper := strings.ToUpper(text)
	for name := range c.r.virtual {
		if strings.Contains(upper, name) {
			return c.writes(text)
		}
	}
	return false
}

// writes says whether a statement is more than a query.
func (c *Conn) writes(text string) bool {
	st, _, err := c.PrepareTail(text)
	if err != nil || st == nil {
		return false
	}
	defer st.Finalize()
	return !st.ReadOnly()
}

// addCap makes the next of our virtual tables. The module learns which
// connection it serves from its arguments.
func (r *recorder) addCap() error {
	i := len(r.caps)
	if err := r.c.Exec(fmt.Sprintf("CREATE VIRTUAL TABLE IF NOT EXISTS temp._driftdb_cap%d USING %s(%d, %d)", i, Module, r.id, i)); err != nil {
		return fmt.Errorf("capture: %w", err)
	}
	st, err := r.c.Prepare(fmt.Sprintf("INSERT INTO temp._driftdb_cap%d VALUES(0)", i))
	if err != nil {
		return fmt.Errorf("capture: %w", err)
	}
	r.caps = append(r.caps, st)
	return nil
}
