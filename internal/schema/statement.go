package schema

import (
	"fmt"
	"strings"
)

// Statement is SQL with its arguments. Statements of the same shape have the same text, so
// the text can be the key of a cache.
type Statement struct {
	SQL  string
	Args []Value
}

// Bind binds the arguments.
func (s Statement) Bind(b Binder) { Bind(b, 1, s.Args) }

// Query selects rows and their order.
type Query struct {
	Terms         []Term
	OrderBy       []Order
	Limit, Offset int // 0 is none
}

// Select selects the rows that match, with all columns in the table's order.
func (t *Table) Select(q Query) (Statement, error) {
	var s Statement
	var sql strings.Builder
	sql.WriteString(t.selectAll)
	if err := t.where(&s, &sql, q.Terms); err != nil {
		return s, err
	}
	for i, o := range q.OrderBy {
		col, err := t.column(o.Column)
		if err != nil {
			return s, err
		}
		if i == 0 {
			sql.WriteString(" ORDER BY ")
		} else {
			sql.WriteString(", ")
		}
		sql.WriteString(t.Columns[col].quoted)
		if o.Desc {
			sql.WriteString(" DESC")
		}
	}
	if err := t.limit(&s, &sql, q.Limit, q.Offset); err != nil {
		return s, err
	}
	s.SQL = sql.String()
	return s, nil
}

func (t *Table) limit(s *Statement, sql *strings.Builder, limit, offset int) error {
	if limit < 0 || offset < 0 {
		return t.fail("", fmt.Sprintf("limit %d, offset %d: neither can be negative; 0 is none", limit, offset))
	}
	if limit == 0 && offset == 0 {
		return nil
	}
	if limit == 0 {
		limit = -1 // SQLite has no OFFSET without LIMIT
	}
	sql.WriteString(" LIMIT ?")
	s.Args = append(s.Args, integer(int64(limit)))
	if offset > 0 {
		sql.WriteString(" OFFSET ?")
		s.Args = append(s.Args, integer(int64(offset)))
	}
	return nil
}

// SelectByID selects one row.
func (t *Table) SelectByID(id string) Statement {
	return Statement{t.selectByID, []Value{text(id)}}
}

// Count counts the rows that match.
func (t *Table) Count(terms []Term) (Statement, error) {
	return t.filtered("SELECT count(*) FROM "+t.quoted, terms)
}

// Delete removes the rows that match.
func (t *Table) Delete(terms []Term) (Statement, error) {
	return t.filtered("DELETE FROM "+t.quoted, terms)
}

func (t *Table) filtered(verb string, terms []Term) (Statement, error) {
	var s Statement
	var sql strings.Builder
	sql.WriteString(verb)
	if err := t.where(&s, &sql, terms); err != nil {
		return s, err
	}
	s.SQL = sql.String()
	return s, nil
}

// Update sets columns of the rows that match. It also sets updatedAt to now (Unix
// milliseconds), unless set contains it. With returning it yields the updated rows.
func (t *Table) Update(set map[string]any, now int64, terms []Term, returning bool) (Statement, error) {
	args, columns, err := t.assignments(set, now)
	if err != nil {
		return Statement{}, err
	}
	s := Statement{Args: args}
	var sql strings.Builder
	t.assign(&sql, columns)
	if err := t.where(&s, &sql, terms); err != nil {
		return s, err
	}
	if returning {
		sql.WriteString(" RETURNING " + t.list)
	}
	s.SQL = sql.String()
	return s, nil
}

// UpdateByID sets columns of one row, as Update does, and yields the updated row. It
// caches the texts by the columns they set.
func (t *Table) UpdateByID(set map[string]any, now int64, id string) (Statement, error) {
	args, columns, err := t.assignments(set, now)
	if err != nil {
		return Statement{}, err
	}
	args = append(args, text(id))
	if known, ok := t.updates.Load(columns); ok {
		return Statement{known.(string), args}, nil
	}
	var sql strings.Builder
	t.assign(&sql, columns)
	sql.WriteString(" WHERE " + t.Columns[t.id].quoted + " = ? RETURNING " + t.list)
	t.updates.Store(columns, sql.String())
	return Statement{sql.String(), args}, nil
}

// assignments returns the values to set, in the table's order, and the indexes of their
// columns, encoded as a string of one rune each: the key of a cache.
func (t *Table) assignments(set map[string]any, now int64) (args []Value, columns string, err error) {
	values := make([]Value, len(t.Columns), len(t.Columns)+1)
	if err := t.EncodeRecord(set, values); err != nil {
		return nil, "", err
	}
	for _, i := range []int{t.id, t.createdAt} {
		if values[i].Kind != KindAbsent {
			return nil, "", t.fail(t.Columns[i].Name, "it cannot be set: it stays as the row was created")
		}
	}
	if values[t.updatedAt].Kind == KindAbsent {
		values[t.updatedAt] = integer(now)
	}
	args = values[:0]
	var key strings.Builder
	for i, v := range values {
		if v.Kind != KindAbsent {
			args = append(args, v)
			key.WriteRune(rune(i))
		}
	}
	return args, key.String(), nil
}

// assign writes the beginning of an UPDATE that sets these columns.
func (t *Table) assign(sql *strings.Builder, columns string) {
	sql.WriteString("UPDATE " + t.quoted + " SET ")
	first := true
	for _, i := range columns {
		if !first {
			sql.WriteString(", ")
		}
		first = false
		sql.WriteString(t.Columns[i].quoted + " = ?")
	}
}

// Stamp fills in the columns that every row has where they have no value: the id from
// newID, the times from now (Unix milliseconds).
func (t *Table) Stamp(row []Value, newID func() string, now int64) {
	if id := &row[t.id]; id.Kind == KindAbsent || id.Kind == KindText && id.Text == "" {
		*id = text(newID())
	}
	for _, i := range []int{t.createdAt, t.updatedAt} {
		if row[i].Kind == KindAbsent {
			row[i] = integer(now)
		}
	}
}

// Seed fills absent values of a new row from the equality terms, so that these terms match
// the row.
func (t *Table) Seed(row []Value, terms []Term) error {
	for _, term := range terms {
		if term.Op != Eq {
			continue
		}
		i, err := t.column(term.Column)
		if err != nil {
			return err
		}
		if row[i].Kind != KindAbsent {
			continue
		}
		if row[i], err = t.Columns[i].Type.convert(term.Value); err != nil {
			return t.fail(term.Column, err.Error())
		}
	}
	return nil
}

// Complete reports whether the values alone determine the row as it will be stored: no
// absent value gets a default from the database.
func (t *Table) Complete(row []Value) bool {
	for i, v := range row {
		if v.Kind == KindAbsent && t.defaults[i] {
			return false
		}
	}
	return true
}

// Insert creates a row and leaves absent values to the database. It yields the stored row.
func (t *Table) Insert(row []Value) Statement {
	var names, params []string
	var s Statement
	for i, v := range row {
		if v.Kind != KindAbsent {
			names = append(names, t.Columns[i].quoted)
			params = append(params, "?")
			s.Args = append(s.Args, v)
		}
	}
	s.SQL = "INSERT INTO " + t.quoted + " (" + strings.Join(names, ", ") +
		") VALUES (" + strings.Join(params, ", ") + ") RETURNING " + t.list
	return s
}

// InsertComplete returns the SQL that creates a complete row. Its parameters are the row's
// values.
func (t *Table) InsertComplete() string { return t.insert }

// Fill replaces absent values with the values of another row, except where the database
// has a default.
func (t *Table) Fill(row, from []Value) {
	for i := range row {
		if row[i].Kind == KindAbsent && !t.defaults[i] {
			row[i] = from[i]
		}
	}
}
