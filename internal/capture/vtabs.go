package capture

import (
	"fmt"
	"strings"

	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// vtabs manages a connection's own virtual tables, temp._driftdb_cap0, 1, 2 …, and tracks
// which of them have joined the transaction. The first one joins every transaction that
// changes something. A further one joins after each of the user's virtual tables, because
// such a table (FTS5) may write from its own xSync, and our last one writes the log row.
type vtabs struct {
	c        *sqlite.Conn
	own      *ownStatements
	id       uint64            // of the recorder
	insert   []*sqlite.Stmt    // insert[i] makes the i-th table join
	at       sqlite.SchemaMark // the state of the schema at the last ensure
	users    map[string]bool   // main's virtual tables, by their names in upper case
	joined   int               // how many of ours have joined
	position int32             // how many virtual tables in all had joined when our last one had
	joining  bool              // one of ours is joining now
	making   map[string]bool   // tables that existed before the running CREATE VIRTUAL TABLE
}

// spareVTabs is how many virtual tables one transaction may create and use.
const spareVTabs = 2

// stale reports whether the schema has changed since the last call of ensure, and with it
// maybe the number of virtual tables.
func (v *vtabs) stale() bool { return v.c.SchemaMark() != v.at }

// ensure creates our virtual tables if they are missing (PRAGMA temp_store drops
// everything in temp) or too few: we need one, one more for each virtual table of
// main, and some spare ones. It is only called outside transactions, since a
// rollback would remove them. If a table is missing when it is needed, the commit
// fails or gets a barrier.
func (v *vtabs) ensure() {
	defer func() { v.at = v.c.SchemaMark() }()
	have, err := v.c.Int(`SELECT count(*) FROM temp.sqlite_schema WHERE name LIKE '\_driftdb\_cap%' ESCAPE '\'`)
	if err != nil {
		return
	}
	if v.users, err = v.c.VirtualTables(); err != nil {
		return
	}
	want := 1 + spareVTabs + len(v.users)
	if int(have) < len(v.insert) {
		v.close()
	}
	for len(v.insert) < want {
		if err := v.create(); err != nil {
			return
		}
	}
}

// create creates the next of our virtual tables. The module's arguments identify
// the connection it serves.
func (v *vtabs) create() error {
	i := len(v.insert)
	if err := v.c.Exec(fmt.Sprintf("CREATE VIRTUAL TABLE IF NOT EXISTS temp._driftdb_cap%d USING %s(%d, %d)", i, Module, v.id, i)); err != nil {
		return fmt.Errorf("capture: %w", err)
	}
	st, err := v.c.Prepare(fmt.Sprintf("INSERT INTO temp._driftdb_cap%d VALUES(0)", i))
	if err != nil {
		return fmt.Errorf("capture: %w", err)
	}
	v.insert = append(v.insert, st)
	return nil
}

func (v *vtabs) close() {
	for _, st := range v.insert {
		st.Finalize()
	}
	v.insert = nil
}

// enlisted reports whether any of our tables has joined the transaction.
func (v *vtabs) enlisted() bool { return v.joined > 0 }

// isLast reports whether our i-th table was the last of ours to join.
func (v *vtabs) isLast(i int) bool { return i == v.joined-1 }

// exhausted reports whether none of our tables is left to join.
func (v *vtabs) exhausted() bool { return v.joined >= len(v.insert) }

// enlist makes the next of our virtual tables part of the transaction.
func (v *vtabs) enlist() error {
	v.joining = true
	_, err := v.own.run(v.insert[v.joined], nil)
	v.joining = false
	v.joined++
	v.position = v.c.Joined()
	return err
}

// joinsLate reports whether our i-th table is joining after others. SQLite then calls its
// xSavepoint for the innermost savepoint, which began earlier.
func (v *vtabs) joinsLate(i int) bool { return v.joining && i > 0 }

// behind reports whether, with n virtual tables in the transaction, one of the user's has
// joined after our last one.
func (v *vtabs) behind(n int32) bool { return n > v.position }

func (v *vtabs) reset() { v.joined, v.position, v.making = 0, 0, nil }

// beginMaking and endMaking are called before and after a CREATE VIRTUAL TABLE. Tables that
// are not in the given set are made by that statement, and so are their rows.
func (v *vtabs) beginMaking(tables map[string]bool) { v.making = tables }
func (v *vtabs) endMaking()                         { v.making = nil }

// makes reports whether the running CREATE VIRTUAL TABLE is making the table.
func (v *vtabs) makes(table []byte) bool { return v.making != nil && !v.making[string(table)] }

// aloneWritten reports whether a statement writes a virtual table outside a transaction. A
// table like FTS5 may defer all its writes to the commit, when it is too late for us to
// join. So the statement needs a transaction, in which one of ours can join after it.
func (v *vtabs) aloneWritten(text string) bool {
	if len(v.users) == 0 || !v.c.Autocommit() {
		return false
	}
	if words(text, 1)[0] != "WITH" {
		return v.users[written(text)]
	}
	upper := strings.ToUpper(text)
	for name := range v.users {
		if strings.Contains(upper, name) {
			return writes(v.c, text)
		}
	}
	return false
}

// writes reports whether a statement is more than a query.
func writes(c *sqlite.Conn, text string) bool {
	st, _, err := c.PrepareTail(text)
	if err != nil || st == nil {
		return false
	}
	defer st.Finalize()
	return !st.ReadOnly()
}
