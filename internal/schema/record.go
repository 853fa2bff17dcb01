package schema

// EncodeRecord fills values, one per column, from the fields of a record. A missing field
// becomes Absent; a field that is not a column is an *Error.
func (t *Table) EncodeRecord(record map[string]any, values []Value) error {
	clear(values)
	for name, v := range record {
		i, err := t.column(name)
		if err != nil {
			return err
		}
		if values[i], err = t.Columns[i].Type.convert(v); err != nil {
			return t.fail(name, err.Error())
		}
	}
	return nil
}

// DecodeRecord converts a row that has the table's columns in order to a record. Booleans
// are bool; times are int64, in milliseconds. A value of another type than its column's,
// which SQLite allows, is kept as it is.
func (t *Table) DecodeRecord(row Row) map[string]any {
	record := make(map[string]any, len(t.Columns))
	for i, c := range t.Columns {
		record[c.Name] = recordValue(row, i, c.Type == Boolean)
	}
	return record
}

func recordValue(row Row, i int, boolean bool) any {
	v := anyOf(row, i)
	if n, ok := v.(int64); ok && boolean && (n == 0 || n == 1) {
		return n == 1
	}
	return v
}

// Records is the plan for converting a query's rows to records.
type Records struct {
	names    []string
	booleans []bool
}

// RecordsOf returns the plan for a result with these columns. booleans marks those that
// were declared BOOLEAN.
func RecordsOf(names []string, booleans []bool) (*Records, error) {
	if err := distinct(names); err != nil {
		return nil, err
	}
	return &Records{names, booleans}, nil
}

// Decode converts a row to a record.
func (r *Records) Decode(row Row) map[string]any {
	record := make(map[string]any, len(r.names))
	for i, name := range r.names {
		record[name] = recordValue(row, i, r.booleans[i])
	}
	return record
}
