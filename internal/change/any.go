package change

// ValueOf converts v, a value as database/sql binds it, to the value that SQLite stores.
func ValueOf(v any) Value {
	switch v := v.(type) {
	case int64:
		return Value{Kind: Integer, Int: v}
	case bool:
		if v {
			return Value{Kind: Integer, Int: 1}
		}
		return Value{Kind: Integer}
	case float64:
		return Value{Kind: Real, Real: v}
	case string:
		return Value{Kind: Text, Bytes: []byte(v)}
	case []byte:
		return Value{Kind: Blob, Bytes: v}
	}
	return Value{}
}

// Any returns v as database/sql would scan it. The result shares no memory with v.
func (v Value) Any() any {
	switch v.Kind {
	case Integer:
		return v.Int
	case Real:
		return v.Real
	case Text:
		return string(v.Bytes)
	case Blob:
		return append([]byte{}, v.Bytes...)
	}
	return nil
}

// Map returns a row's values by column name, or nil if row is empty.
func Map(row []Column) map[string]any {
	if len(row) == 0 {
		return nil
	}
	out := make(map[string]any, len(row))
	for _, c := range row {
		out[c.Name] = c.Value.Any()
	}
	return out
}

// Names returns the columns whose values e has, in the order of the table.
func Names(e *Entry) []string {
	row := e.After
	if e.Op == Delete {
		row = e.Before
	}
	if len(row) == 0 {
		return nil
	}
	names := make([]string, len(row))
	for i := range row {
		names[i] = row[i].Name
	}
	return names
}
