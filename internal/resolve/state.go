package resolve

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/driftdb/driftdb-go/internal/apply"
	"github.com/driftdb/driftdb-go/internal/change"
	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// state is one of the three states of the database: the common point, the file, or the
// bucket. Its connection reads in one transaction.
type state struct {
	c       *sqlite.Conn
	objects map[string]object // tables, indexes, views and triggers, by name
	shadows map[string]string // from each shadow table to its virtual table
}

// object is an entry of the schema.
type object struct {
	kind, name, table, sql string
	virtual                bool // a virtual table
}

// usersOwn excludes SQLite's and DriftDB's own tables.
const usersOwn = `lower(name) NOT LIKE 'sqlite\_%' ESCAPE '\' AND lower(name) NOT LIKE '\_driftdb\_%' ESCAPE '\'`

// read starts a read transaction on c, which fixes the state that it sees, and reads the
// schema.
func read(c *sqlite.Conn) (*state, error) {
	if err := c.Exec("BEGIN"); err != nil {
		return nil, err
	}
	s := &state{c: c, objects: map[string]object{}, shadows: map[string]string{}}
	if err := c.Each("SELECT type, name, tbl_name, coalesce(sql, '') FROM main.sqlite_schema WHERE "+usersOwn, func(st *sqlite.Stmt) error {
		o := object{kind: st.Text(0), name: st.Text(1), table: st.Text(2), sql: st.Text(3)}
		o.virtual = o.kind == "table" && len(o.sql) > 14 && strings.EqualFold(o.sql[:14], "CREATE VIRTUAL")
		s.objects[o.name] = o
		return nil
	}); err != nil {
		return nil, err
	}
	return s, c.Each("SELECT name FROM pragma_table_list WHERE schema = 'main' AND type = 'shadow'", func(st *sqlite.Stmt) error {
		name, owner := st.Text(0), ""
		for _, o := range s.objects {
			if o.virtual && len(o.name) > len(owner) && len(name) > len(o.name) && strings.EqualFold(name[:len(o.name)+1], o.name+"_") {
				owner = o.name
			}
		}
		s.shadows[name] = owner
		return nil
	})
}

// table returns the definition of an ordinary table or a shadow table; "" if the state
// has none of that name.
func (s *state) table(name string) string {
	if o := s.objects[name]; o.kind == "table" && !o.virtual {
		return o.sql
	}
	return ""
}

// row is a row of a table: the values of its stored columns, in order.
type row struct {
	id     int64 // its rowid, if it has one
	values []change.Value
}

func (r *row) same(o *row) bool {
	if r == nil || o == nil {
		return r == o
	}
	for i := range r.values {
		if !r.values[i].Same(&o.values[i]) {
			return false
		}
	}
	return true
}

// layout is how a table's rows are read, identified and written.
//
// Rows are identified by the primary key. Without one, or if it contains a NULL, they
// have only the rowid. A rowid that is not a column has no other meaning: two machines
// assign the same one to different rows.
type layout struct {
	*sqlite.Table
	columns    []string            // quoted
	defaults   []string            // of columns, as SQL
	collations map[string][]string // of the key's columns, in the key's index
}

func newLayout(c *sqlite.Conn, table string) (*layout, error) {
	t, err := c.Table(table)
	if err != nil {
		return nil, err
	}
	if t.TooWide() || t.HasRowID && t.RowID == "" {
		return nil, fmt.Errorf("table %s: its rowid is hidden by its columns, so its rows have no identity", table)
	}
	l := &layout{Table: t}
	defaults := map[string]string{}
	if err := c.About("SELECT name, coalesce(dflt_value, 'NULL') FROM pragma_table_xinfo(?1, 'main')", table, func(st *sqlite.Stmt) {
		defaults[st.Text(0)] = st.Text(1)
	}); err != nil {
		return nil, err
	}
	for _, col := range t.Columns {
		l.columns = append(l.columns, sqlite.Quote(col.Name))
		l.defaults = append(l.defaults, defaults[col.Name])
	}
	l.collations, err = c.KeyCollations(table)
	return l, err
}

// keyed reports whether r can be identified by a primary key.
func (l *layout) keyed(r *row) bool {
	if len(l.Key) == 0 {
		return false
	}
	for _, k := range l.Key {
		if l.HasRowID && r.values[k].Kind == change.Null {
			return false
		}
	}
	return true
}

// identity distinguishes r from the table's other rows.
func (l *layout) identity(r *row) string {
	if !l.keyed(r) {
		return string(change.AppendInt([]byte{0}, r.id))
	}
	b := []byte{1}
	for _, k := range l.Key {
		b = change.AppendValue(b, r.values[k])
	}
	return string(b)
}

// key returns what identifies r, for people.
func (l *layout) key(r *row) []change.Column {
	if !l.keyed(r) {
		return []change.Column{{Name: "rowid", Value: change.Value{Kind: change.Integer, Int: r.id}}}
	}
	var key []change.Column
	for _, k := range l.Key {
		key = append(key, change.Column{Name: l.Columns[k].Name, Value: r.values[k]})
	}
	return key
}

// named returns r's values with the names of its columns; nil if there is no row.
func (l *layout) named(r *row) []change.Column {
	if r == nil {
		return nil
	}
	out := make([]change.Column, len(r.values))
	for i := range out {
		out[i] = change.Column{Name: l.Columns[i].Name, Value: r.values[i]}
	}
	return out
}

// selection returns the beginning of a query for the rows in c's database. A column that
// does not exist there yet has its default value.
func (l *layout) selection(c *sqlite.Conn) (string, error) {
	there := map[string]bool{}
	if err := c.About("SELECT name FROM pragma_table_xinfo(?1, 'main')", l.Name, func(st *sqlite.Stmt) { there[st.Text(0)] = true }); err != nil {
		return "", err
	}
	fields := make([]string, 0, len(l.columns)+1)
	if l.HasRowID {
		fields = append(fields, l.RowID)
	} else {
		fields = append(fields, "0")
	}
	for i, col := range l.columns {
		if !there[l.Columns[i].Name] {
			col = "(" + l.defaults[i] + ")"
		}
		fields = append(fields, col)
	}
	return "SELECT " + strings.Join(fields, ", ") + " FROM main." + sqlite.Quote(l.Name), nil
}

func (l *layout) scanned(st *sqlite.Stmt) *row {
	r := &row{id: st.Int64(0), values: make([]change.Value, len(l.columns))}
	for i := range r.values {
		r.values[i] = apply.Value(st, i+1)
	}
	return r
}

// condition returns the part of a statement that finds a row by its identity, and the
// values to bind, from parameter at on.
func (l *layout) condition(r *row, at int) (string, []change.Value) {
	if !l.keyed(r) {
		return l.RowID + " = ?" + strconv.Itoa(at), []change.Value{{Kind: change.Integer, Int: r.id}}
	}
	var terms []string
	var values []change.Value
	for i, k := range l.Key {
		collations := l.collations[l.Columns[k].Name]
		if len(collations) == 0 { // an alias of the rowid
			terms = append(terms, l.columns[k]+" = ?"+strconv.Itoa(at+i))
		}
		for _, c := range collations { // a column may be in the key twice
			terms = append(terms, l.columns[k]+" COLLATE "+sqlite.Quote(c)+" = ?"+strconv.Itoa(at+i))
		}
		values = append(values, r.values[k])
	}
	return strings.Join(terms, " AND "), values
}

// each calls fn for every row of the table in c's database.
func (l *layout) each(c *sqlite.Conn, fn func(*row) error) error {
	query, err := l.selection(c)
	if err != nil {
		return err
	}
	return c.Each(query, func(st *sqlite.Stmt) error { return fn(l.scanned(st)) })
}

// finder returns a function that looks up rows of one table.
func (l *layout) finder(c *sqlite.Conn) (func(*row) (*row, error), error) {
	query, err := l.selection(c)
	if err != nil {
		return nil, err
	}
	return func(r *row) (found *row, err error) {
		where, values := l.condition(r, 1)
		found, err = l.one(c, query+" WHERE "+where, values)
		if found != nil && l.keyed(found) != l.keyed(r) {
			return nil, err // a row without a key only happens to have the same rowid
		}
		return found, err
	}, nil
}

// one returns the row that a query finds; nil if there is none.
func (l *layout) one(c *sqlite.Conn, query string, values []change.Value) (found *row, err error) {
	st, err := c.Cached(query)
	if err != nil {
		return nil, err
	}
	defer st.Release()
	for i, v := range values {
		apply.Bind(st, i+1, v)
	}
	err = st.Each(func(st *sqlite.Stmt) error { found = l.scanned(st); return nil })
	return found, err
}
