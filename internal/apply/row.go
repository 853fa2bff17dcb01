package apply

import (
	"fmt"
	"strings"

	"github.com/driftdb/driftdb-go/internal/change"
	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// target is a table whose rows are replayed, with its statements.
type target struct {
	name       string
	rowid      string                  // the rowid's name; columns may hide some of its names
	collations map[string][]string     // of the primary key's columns, in its index
	statements map[string]*sqlite.Stmt // by operation and columns: see Replay.key
	find       *finder                 // nil until it is needed
}

func (r *Replay) target(name string) (*target, error) {
	if t := r.tables[name]; t != nil {
		return t, nil
	}
	if err := r.ordinary(name); err != nil {
		return nil, err
	}
	t := &target{name: name, statements: map[string]*sqlite.Stmt{}}
	hidden := map[string]bool{}
	err := r.c.About("SELECT lower(name) FROM pragma_table_xinfo(?1, 'main')", name, func(st *sqlite.Stmt) {
		hidden[st.Text(0)] = true
	})
	if err != nil {
		return nil, err
	}
	if len(hidden) == 0 {
		return nil, fmt.Errorf("there is no table %s", name)
	}
	if t.collations, err = r.c.KeyCollations(name); err != nil {
		return nil, err
	}
	for _, alias := range []string{"rowid", "_rowid_", "oid"} {
		if !hidden[alias] {
			t.rowid = alias
			break
		}
	}
	r.tables[name] = t
	return t, nil
}

// row applies a row change. If the rowid changes, a separate statement changes it
// first: one statement can set as many columns as a table can have, but not one
// more. The row's UNIQUE columns keep their values until the second statement.
func (r *Replay) row(t *target, e *change.Entry) error {
	if e.Op != change.Update || !e.HasRowID || e.NewRowID == e.RowID {
		return r.run(t, e)
	}
	move := change.Entry{Op: change.Update, Table: e.Table, HasRowID: true, RowID: e.RowID, NewRowID: e.NewRowID}
	if err := r.run(t, &move); err != nil || len(e.After) == 0 {
		return err
	}
	set := *e
	set.RowID = e.NewRowID
	return r.run(t, &set)
}

func (r *Replay) run(t *target, e *change.Entry) error {
	st, err := r.statement(t, e)
	if err != nil {
		return err
	}
	bind(st, e)
	err = st.Run()
	st.Clear()
	if n := r.c.Changes(); err == nil && n != 1 && !t.statistics() {
		err = fmt.Errorf("%d rows match where the log has one", n)
	}
	return err
}

// statistics reports whether the table is one of SQLite's statistics tables. Their rows
// about the log's own tables are not logged, so such rows differ from file to file.
func (t *target) statistics() bool { return strings.HasPrefix(t.name, "sqlite_stat") }

// statement returns the statement for an entry. It is compiled once for all entries
// with the same operation and columns.
func (r *Replay) statement(t *target, e *change.Entry) (*sqlite.Stmt, error) {
	r.key(e)
	if st := t.statements[string(r.text)]; st != nil {
		return st, nil
	}
	var sql string
	switch e.Op {
	case change.Insert:
		sql = t.insertion(e)
	case change.Update:
		sql = t.update(e)
	case change.Delete:
		sql = "DELETE FROM main." + sqlite.Quote(t.name) + " WHERE " + t.where(e, 1)
	}
	st, err := r.c.Prepare(sql)
	if err == nil {
		t.statements[string(r.text)] = st
	}
	return st, err
}

// key puts the key of an entry's statement into r.text.
func (r *Replay) key(e *change.Entry) {
	r.text = append(r.text[:0], byte(e.Op), 0, 0)
	if e.HasRowID {
		r.text[1] = 1
	}
	if moved(e) {
		r.text[2] = 1
	}
	for i := range e.After {
		r.text = append(append(r.text, e.After[i].Name...), 0)
	}
	if e.Op != change.Insert && !e.HasRowID {
		for i := range e.Key {
			r.text = append(append(r.text, 0), e.Key[i].Name...)
		}
	}
}

func moved(e *change.Entry) bool {
	return e.Op == change.Update && e.HasRowID && e.NewRowID != e.RowID
}

func (t *target) insertion(e *change.Entry) string {
	names := columnNames(e.After)
	if e.HasRowID {
		names = append([]string{t.rowid}, names...)
	}
	marks := strings.TrimSuffix(strings.Repeat("?, ", len(names)), ", ")
	verb := "INSERT"
	if t.statistics() {
		verb = "INSERT OR REPLACE"
	}
	return verb + " INTO main." + sqlite.Quote(t.name) + "(" + strings.Join(names, ", ") + ") VALUES(" + marks + ")"
}

func (t *target) update(e *change.Entry) string {
	var set []string
	for _, n := range columnNames(e.After) {
		set = append(set, n+" = ?")
	}
	if moved(e) {
		set = append(set, t.rowid+" = ?")
	}
	bound := len(set)
	if len(set) == 0 { // only generated columns changed, or none: still check that the row exists
		set = append(set, t.anyColumn(e)+" = "+t.anyColumn(e))
	}
	return "UPDATE main." + sqlite.Quote(t.name) + " SET " + strings.Join(set, ", ") + " WHERE " + t.where(e, bound+1)
}

func (t *target) anyColumn(e *change.Entry) string {
	if e.HasRowID {
		return t.rowid
	}
	return sqlite.Quote(e.Key[0].Name)
}

// where returns the terms that address the entry's row: by its rowid if that is not a
// column, else by its primary key, which then has no NULLs. The collations of the key's
// index, not of the columns, distinguish rows, and SQLite only uses the index with its own
// collations. The first parameter is number at.
func (t *target) where(e *change.Entry, at int) string {
	if e.HasRowID {
		return fmt.Sprintf("%s = ?%d", t.rowid, at)
	}
	var terms []string
	for i, name := range columnNames(e.Key) {
		collations := t.collations[e.Key[i].Name]
		if len(collations) == 0 { // an alias of the rowid
			terms = append(terms, fmt.Sprintf("%s = ?%d", name, at+i))
		}
		for _, c := range collations { // a column may be in the key twice
			terms = append(terms, fmt.Sprintf("%s COLLATE %s = ?%d", name, sqlite.Quote(c), at+i))
		}
	}
	if len(terms) <= sought {
		return all(terms)
	}
	// IS turns the remaining terms into one, which SQLite checks in the row that it finds:
	// the time to plan a statement grows faster than the square of its terms.
	return all(terms[:sought]) + " AND (" + all(terms[sought:]) + ") IS 1"
}

// sought is the largest number of terms by which a row is looked up.
const sought = 16

// all joins terms with AND, as a balanced tree: SQLite limits the depth of an expression,
// and a key may have as many columns as a table.
func all(terms []string) string {
	if len(terms) == 1 {
		return terms[0]
	}
	middle := len(terms) / 2
	return "(" + all(terms[:middle]) + " AND " + all(terms[middle:]) + ")"
}

// bind binds an entry's values in the order of its statement's parameters.
func bind(st *sqlite.Stmt, e *change.Entry) {
	at := 1
	if e.Op == change.Insert && e.HasRowID {
		st.BindInt64(at, e.RowID)
		at++
	}
	at = bindColumns(st, at, e.After)
	if moved(e) {
		st.BindInt64(at, e.NewRowID)
		at++
	}
	switch {
	case e.Op == change.Insert:
	case e.HasRowID:
		st.BindInt64(at, e.RowID)
	default:
		bindColumns(st, at, e.Key)
	}
}

func bindColumns(st *sqlite.Stmt, at int, columns []change.Column) int {
	for i := range columns {
		Bind(st, at, columns[i].Value)
		at++
	}
	return at
}

// Bind binds v to parameter at of st, exactly.
func Bind(st *sqlite.Stmt, at int, v change.Value) {
	switch v.Kind {
	case change.Integer:
		st.BindInt64(at, v.Int)
	case change.Real:
		st.BindFloat(at, v.Real)
	case change.Text:
		st.BindTextBytes(at, v.Bytes)
	case change.Blob:
		st.BindBlob(at, v.Bytes)
	default:
		st.BindNull(at)
	}
}

func columnNames(columns []change.Column) []string {
	out := make([]string, len(columns), len(columns)+1)
	for i, c := range columns {
		out[i] = sqlite.Quote(c.Name)
	}
	return out
}
