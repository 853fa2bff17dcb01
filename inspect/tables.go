package inspect

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/driftdb/driftdb-go"
)

const (
	tableRows    = 50      // rows on a page
	tableColumns = 40      // columns on a page
	tableCell    = 300     // characters of a cell
	cellRead     = 2000    // bytes of a cell that are read
	countedRows  = 100_000 // up to which rows are counted
	tablesListed = 500
)

// tablesBody lists the tables of a state.
type tablesBody struct {
	At     string
	State  int64
	Form   string
	Tables []tableLine
	More   int
	Differ string
}

type tableLine struct {
	Name []piece
	Kind string
	Link string
	Log  string
	Rows string
	SQL  value
}

// tablesPage lists the tables as they were.
func (h *Handler) tablesPage(v *visit) (*view, error) {
	at := strings.TrimSpace(v.URL.Query().Get("at"))
	db, sequence, done, err := v.then(at)
	if errors.Is(err, errRestoring) {
		return v.restoring(sequence), nil
	}
	if err != nil {
		return nil, err
	}
	defer done()
	b := tablesBody{At: at, State: db.Sequence(), Form: v.link("tables"), Differ: v.link("diff", "from", fmt.Sprint(max(1, db.Sequence())))}
	for row, err := range driftdb.SelectEach(v.ctx, db, `SELECT type, name, substr(sql, 1, 1000) FROM sqlite_schema
		WHERE type IN ('table', 'view') AND name NOT LIKE '\_driftdb\_%' ESCAPE '\' AND name NOT LIKE 'sqlite\_%' ESCAPE '\' ORDER BY name`) {
		if err != nil {
			return nil, err
		}
		if len(b.Tables) == tablesListed {
			b.More++
			continue
		}
		name := textOf(row.Values[1])
		b.Tables = append(b.Tables, tableLine{
			Name: pieces(shorten(name, 200)), Kind: textOf(row.Values[0]), Rows: name, SQL: show(oneLine(textOf(row.Values[2])), 160),
			Link: v.link("table", "at", fmt.Sprint(sequence), "table", name), Log: v.link("log", "table", name),
		})
	}
	for i := range b.Tables {
		b.Tables[i].Rows = rowCount(v.ctx, db, b.Tables[i].Rows, b.Tables[i].Kind)
	}
	return &view{template: "tables", Title: fmt.Sprintf("Tables at change %d", b.State), Tab: "Tables", Body: b, Commands: []command{
		v.command("Restore this state to a new file", "restore", "--at", fmt.Sprint(sequence), "--out", "FILE"),
		v.command("Ask questions of it", "shell", "--at", fmt.Sprint(sequence)),
	}}, nil
}

func textOf(v any) string {
	s, _ := v.(string)
	return s
}

// rowCount is how many rows a table has. A view's are not counted: nobody knows what that
// costs.
func rowCount(ctx context.Context, db *driftdb.DB, table, kind string) string {
	if kind != "table" {
		return ""
	}
	n, err := driftdb.Select[int64](ctx, db, fmt.Sprintf("SELECT count(*) FROM (SELECT 1 FROM %s LIMIT %d)", ident(table), countedRows+1))
	switch {
	case err != nil || len(n) != 1:
		return "?"
	case n[0] > countedRows:
		return "over " + count(int64(countedRows))
	}
	return count(n[0])
}

// ident quotes a name for SQL.
func ident(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

// tableBody is a page of a table's rows.
type tableBody struct {
	At             int64
	State          int64
	Table          []piece
	Columns        []columnName
	Rows           []rowView
	First          int64 // the number of the first row on the page, from 1
	Total          string
	Next, Previous string
	Right, Left    string // other columns
	Shown, All     int    // columns
	Tables, Log    string
	Form           tableForm
}

type tableForm struct{ Action, At, Table string }

type columnName struct {
	Name []piece
	Type []piece
	Key  bool
}

type rowView struct {
	Life  string // link to the life of the row
	Cells []value
}

// column is a column of a table of the past.
type column struct {
	name, declared string
	key            int64 // its place in the primary key, from 1; 0: it is not part of it
}

// tablePage shows rows of a table as it was.
func (h *Handler) tablePage(v *visit) (*view, error) {
	q := v.URL.Query()
	table := q.Get("table")
	if table == "" {
		return nil, bad("the table is missing")
	}
	skip, err := offset(q.Get("skip"))
	if err != nil {
		return nil, err
	}
	side, err := offset(q.Get("column"))
	if err != nil {
		return nil, err
	}
	at := strings.TrimSpace(q.Get("at"))
	db, sequence, done, err := v.then(at)
	if errors.Is(err, errRestoring) {
		return v.restoring(sequence), nil
	}
	if err != nil {
		return nil, err
	}
	defer done()
	all, rowid, kind, err := columnsOf(v.ctx, db, table)
	if err != nil {
		return nil, err
	}
	point := fmt.Sprint(sequence)
	b := tableBody{
		At: sequence, State: db.Sequence(), Table: pieces(shorten(table, 200)), First: skip + 1, All: len(all),
		Tables: v.link("tables", "at", point), Log: v.link("log", "table", table), Form: tableForm{v.link("table"), point, table},
		Total: rowCount(v.ctx, db, table, kind),
	}
	first := min(int(side), max(0, len(all)-1))
	shown := all[first:min(len(all), first+tableColumns)]
	b.Shown = len(shown)
	page := func(skip int64, column int) string {
		return v.link("table", "at", point, "table", table, "skip", positive(skip), "column", positive(int64(column)))
	}
	if first > 0 {
		b.Left = page(skip, max(0, first-tableColumns))
	}
	if first+tableColumns < len(all) {
		b.Right = page(skip, first+tableColumns)
	}
	if skip > 0 {
		b.Previous = page(max(0, skip-tableRows), first)
	}
	for _, c := range shown {
		b.Columns = append(b.Columns, columnName{pieces(shorten(c.name, 100)), pieces(shorten(c.declared, 40)), c.key > 0})
	}
	r := rowReader{v: v, db: db, table: table, all: all, shown: shown, rowid: rowid, point: point}
	var more bool
	if b.Rows, more, err = r.rows(skip); err != nil {
		return nil, err
	}
	if more {
		b.Next = page(skip+tableRows, first)
	}
	return &view{template: "table", Title: shorten(table, 60), Tab: "Tables", Body: b, Commands: []command{
		v.command("Read it by SQL", "query", "--at", point, fmt.Sprintf("SELECT * FROM %s LIMIT %d OFFSET %d", ident(table), tableRows, skip)),
		v.command("Restore this table beside today's", "restore", "--table", table, "--at", point, "--into", "FILE"),
		v.command("Print its changes", "log", "--table", table),
	}}, nil
}

// positive is a number for an address, which leaves a zero out.
func positive(n int64) string {
	if n <= 0 {
		return ""
	}
	return fmt.Sprint(n)
}

// offset reads how many rows or columns are skipped.
func offset(text string) (int64, error) {
	if text == "" || text == "0" {
		return 0, nil
	}
	return number(text, "the place in the table")
}

// columnsOf describes a table or view. rowid is the name under which its rowid can be read;
// "" if it has none.
func columnsOf(ctx context.Context, db *driftdb.DB, table string) (all []column, rowid, kind string, err error) {
	there, err := driftdb.Select[driftdb.Record](ctx, db, "SELECT type, wr FROM pragma_table_list WHERE schema = 'main' AND name = ?", table)
	if err != nil {
		return nil, "", "", err
	}
	if len(there) == 0 {
		return nil, "", "", notFound{fmt.Errorf("there was no table %s then", quoted(shorten(table, 100)))}
	}
	for row, err := range driftdb.SelectEach(ctx, db, "SELECT name, type, pk FROM pragma_table_xinfo(?) WHERE hidden <> 1 ORDER BY cid", table) {
		if err != nil {
			return nil, "", "", err
		}
		key, _ := row.Values[2].(int64)
		all = append(all, column{textOf(row.Values[0]), textOf(row.Values[1]), key})
	}
	kind = textOf(there[0]["type"])
	if kind == "view" || there[0]["wr"] == int64(1) {
		return all, "", kind, nil
	}
	for _, name := range []string{"rowid", "_rowid_", "oid"} {
		if !slices.ContainsFunc(all, func(c column) bool { return strings.EqualFold(c.name, name) }) {
			return all, name, kind, nil
		}
	}
	return all, "", kind, nil
}

// rowReader reads rows of a table, with a bound on how much of each cell.
type rowReader struct {
	v          *visit
	db         *driftdb.DB
	table      string
	all, shown []column
	rowid      string
	point      string
}

// rows reads a page of rows.
func (r *rowReader) rows(skip int64) (out []rowView, more bool, err error) {
	keys := r.keys()
	var words []string
	for _, k := range keys {
		words = append(words, bound(ident(k)))
	}
	for _, c := range r.shown {
		words = append(words, bound(ident(c.name)))
	}
	query := fmt.Sprintf("SELECT %s FROM %s LIMIT %d OFFSET %d", strings.Join(words, ", "), ident(r.table), tableRows+1, skip)
	for row, err := range driftdb.SelectEach(r.v.ctx, r.db, query) {
		if err != nil {
			return nil, false, err
		}
		if len(out) == tableRows {
			return out, true, nil
		}
		out = append(out, r.row(row.Values, keys, skip+int64(len(out))))
	}
	return out, false, nil
}

// keys are the columns by which the log knows a row.
func (r *rowReader) keys() (keys []string) {
	primary := slices.DeleteFunc(slices.Clone(r.all), func(c column) bool { return c.key == 0 })
	slices.SortFunc(primary, func(x, y column) int { return cmp.Compare(x.key, y.key) })
	for _, c := range primary {
		keys = append(keys, c.name)
	}
	if len(keys) == 0 && r.rowid != "" {
		keys = []string{r.rowid}
	}
	return keys
}

// bound is an expression for a value, or the beginning of a long one. Of a text it takes
// bytes, since substr and length would end at a NUL.
func bound(c string) string {
	return fmt.Sprintf("CASE WHEN typeof(%[1]s) = 'text' AND length(CAST(%[1]s AS BLOB)) > %[2]d THEN CAST(substr(CAST(%[1]s AS BLOB), 1, %[2]d) AS TEXT)"+
		" WHEN typeof(%[1]s) = 'blob' AND length(%[1]s) > %[2]d THEN substr(%[1]s, 1, %[2]d) ELSE %[1]s END", c, cellRead)
}

// row prepares a row whose number, from 0, is n.
func (r *rowReader) row(values []any, keys []string, n int64) rowView {
	var out rowView
	key := map[string]any{}
	for i, name := range keys {
		if name == r.rowid && len(keys) == 1 && !slices.ContainsFunc(r.all, func(c column) bool { return c.key > 0 }) {
			name = "rowid"
		}
		if lengthOf(values[i]) >= cellRead {
			key = nil
			break
		}
		key[name] = values[i]
	}
	if text := encodeKey(key); text != "" {
		out.Life = r.v.link("row", "table", r.table, "key", text)
	}
	for i, c := range r.shown {
		cell := show(values[len(keys)+i], tableCell)
		if cell.More != "" {
			if lengthOf(values[len(keys)+i]) >= cellRead {
				cell.More = "" // only the beginning was read
			}
			cell.Link = r.v.link("cell", "at", r.point, "table", r.table, "row", positive(n+1), "name", c.name)
		}
		out.Cells = append(out.Cells, cell)
	}
	return out
}

func lengthOf(v any) int {
	switch v := v.(type) {
	case string:
		return len(v)
	case []byte:
		return len(v)
	}
	return 0
}

// cellValue returns all of a cell of a table as it was.
func (h *Handler) cellValue(v *visit) (any, error) {
	if !own(v.Request) {
		return nil, errForeign
	}
	q := v.URL.Query()
	n, err := number(q.Get("row"), "row")
	if err == nil && n == 0 {
		err = bad("row is missing")
	}
	if err != nil {
		return nil, err
	}
	db, _, done, err := v.then(q.Get("at"))
	if err != nil {
		return nil, err
	}
	defer done()
	table, name := q.Get("table"), q.Get("name")
	all, _, _, err := columnsOf(v.ctx, db, table)
	if err != nil {
		return nil, err
	}
	if !slices.ContainsFunc(all, func(c column) bool { return c.name == name }) {
		return nil, notFound{fmt.Errorf("table %s had no column %s then", quoted(shorten(table, 100)), quoted(shorten(name, 100)))}
	}
	for row, err := range driftdb.SelectEach(v.ctx, db, fmt.Sprintf("SELECT %s FROM %s LIMIT 1 OFFSET %d", ident(name), ident(table), n-1)) {
		if err != nil {
			return nil, err
		}
		return row.Values[0], nil
	}
	return nil, notFound{fmt.Errorf("table %s had no row %d then", quoted(shorten(table, 100)), n)}
}
