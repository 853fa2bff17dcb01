package capture

import (
	"fmt"
	"strings"

	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// vtabs are our virtual tables of a connection, temp._driftdb_cap0, 1, 2 …, and which of
// them take part in the transaction. The first joins every transaction, a further one
// comes after each virtual table of the user's that joins: such a table (FTS5) may write
// from its own xSync, and the log row is written by the last one of ours.
type vtabs struct {
	c        *sqlite.Conn
	own      *ownStatements
	id       uint64            // of the recorder
	insert   []*sqlite.Stmt    // insert[i] makes the i-th join
	at       sqlite.SchemaMark // the schema for which there are enough of them
	users    map[string]bool   // main's virtual tables, by their names in upper case
	joined   int               // how many of ours take part
	position int32             // how many virtual tables in all did when the last of ours had joined
	joining  bool              // one of ours is about to
	making   map[string]bool   // tables before a CREATE VIRTUAL TABLE that runs now
}

// spareVTabs is how many virtual tables one transaction may create and use.
const spareVTabs = 2

// stale says that the schema may have another number of virtual tables than when ensure
// was called last.
func (v *vtabs) stale() bool { return v.c.SchemaMark() != v.at }

// ensure sees to it that our virtual tables are there (PRAGMA temp_store
// drops everything in temp) and that there are enough of them: one, one more
// for each virtual table of main, and some spare. It is called outside
// transactions only, since a rollback would take them away. What is missing
// fails the commit or becomes a barrier when it is needed.
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

// create makes the next of our virtual tables. The module learns which
// connection it serves from its arguments.
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

// enlisted says that we take part in the transaction.
func (v *vtabs) enlisted() bool { return v.joined > 0 }

// isLast says whether our i-th table is the last of ours that takes part.
func (v *vtabs) isLast(i int) bool { return i == v.joined-1 }

// exhausted says that there is none left to join.
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

// joinsLate says, of our i-th table, that it joins behind others: it is told then of the
// innermost savepoint, which is older than now.
func (v *vtabs) joinsLate(i int) bool { return v.joining && i > 0 }

// behind says that one of the user's is among the first n of the transaction's virtual
// tables, and none of ours after it.
func (v *vtabs) behind(n int32) bool { return n > v.position }

func (v *vtabs) reset() { v.joined, v.position, v.making = 0, 0, nil }

// beginMaking and endMaking are called before and after a CREATE VIRTUAL TABLE. It makes
// tables that are not among those that there were, and rows of these.
func (v *vtabs) beginMaking(tables map[string]bool) { v.making = tables }
func (v *vtabs) endMaking()                         { v.making = nil }

// makes says whether a table is being made by a CREATE VIRTUAL TABLE.
func (v *vtabs) makes(table []byte) bool { return v.making != nil && !v.making[string(table)] }

// aloneWritten says whether a statement writes a virtual table, and is all of its
// transaction. A table like FTS5 may put off all its own writing until the commit, when it
// is too late for us to join: the statement needs a transaction in which one of ours can
// still come after it.
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

// writes says whether a statement is more than a query.
func writes(c *sqlite.Conn, text string) bool {
	st, _, err := c.PrepareTail(text)
	if err != nil || st == nil {
		return false
	}
	defer st.Finalize()
	return !st.ReadOnly()
}
