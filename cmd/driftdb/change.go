package main

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/driftdb/driftdb-go"
)

// changeLine formats a change for people.
func changeLine(c driftdb.Change) string {
	return fmt.Sprintf("%s %d %s %s", stamp(c.Time), c.Sequence, tableOf(c), c.Operation) + changeDetails(c)
}

func tableOf(c driftdb.Change) string {
	if c.Table == "" {
		return "-"
	}
	return word(c.Table)
}

// changeDetails formats what a change changed: its statement or reason, key and columns.
func changeDetails(c driftdb.Change) string {
	var b strings.Builder
	switch {
	case c.SQL != "":
		b.WriteString(" " + strings.Join(strings.Fields(c.SQL), " "))
	case c.Reason != "":
		b.WriteString(" " + c.Reason)
	}
	if len(c.Key) > 0 {
		b.WriteString(" [" + strings.Join(pairs(c.Key), " ") + "]")
	}
	for _, s := range columns(c) {
		b.WriteString(" " + s)
	}
	return b.String()
}

// columns formats the columns of a change, in the order of the table.
func columns(c driftdb.Change) (out []string) {
	names := c.Columns
	if names == nil { // a conflict's
		names = slices.Sorted(maps.Keys(c.After))
		if c.Operation == driftdb.OperationDelete {
			names = slices.Sorted(maps.Keys(c.Before))
		}
	}
	for _, name := range names {
		out = append(out, word(name)+"="+columnText(c, name, "->"))
	}
	return out
}

// columnText formats the value of a column, or those before and after an update.
func columnText(c driftdb.Change, name, arrow string) string {
	switch c.Operation {
	case driftdb.OperationInsert:
		return literal(c.After[name])
	case driftdb.OperationDelete:
		return literal(c.Before[name])
	}
	before := "?"
	if v, ok := c.Before[name]; ok {
		before = literal(v)
	}
	return before + arrow + literal(c.After[name])
}

func pairs(m map[string]any) []string {
	var out []string
	for _, name := range slices.Sorted(maps.Keys(m)) {
		out = append(out, word(name)+"="+literal(m[name]))
	}
	return out
}

// word formats a name, quoted if it would not read as one word.
func word(s string) string {
	if s != "" && !strings.ContainsFunc(s, func(r rune) bool { return !strconv.IsPrint(r) || strings.ContainsRune(" =[]\"", r) }) {
		return s
	}
	return strconv.Quote(s)
}

// literal formats a value on one line.
func literal(v any) string {
	switch v := v.(type) {
	case nil:
		return "NULL"
	case string:
		return strconv.Quote(v)
	case []byte:
		return fmt.Sprintf("x'%x'", v)
	case float64:
		return real(v)
	}
	return fmt.Sprint(v)
}

// real formats a float so that it cannot be mistaken for an integer.
func real(v float64) string {
	if math.IsInf(v, 0) {
		return strings.Replace(fmt.Sprint(v), "Inf", "Infinity", 1)
	}
	s := strconv.FormatFloat(v, 'g', -1, 64)
	if !strings.ContainsAny(s, ".e") {
		s += ".0"
	}
	return s
}

// changeJSON is a change with --json.
type changeJSON struct {
	Sequence  int64             `json:"sequence"`
	Tx        int64             `json:"tx"`
	Time      instant           `json:"time"`
	Operation driftdb.Operation `json:"operation"`
	Table     string            `json:"table,omitempty"`
	Key       map[string]any    `json:"key,omitempty"`
	RowID     *int64            `json:"rowid,omitempty"` // only with newRowid
	NewRowID  *int64            `json:"newRowid,omitempty"`
	Before    json.RawMessage   `json:"before,omitempty"`
	After     json.RawMessage   `json:"after,omitempty"`
	SQL       string            `json:"sql,omitempty"`
	Reason    string            `json:"reason,omitempty"`
}

func jsonChange(c driftdb.Change) changeJSON {
	out := changeJSON{
		Sequence: c.Sequence, Tx: c.Tx, Time: instant(c.Time), Operation: c.Operation, Table: c.Table,
		Key: tagged(c.Key), Before: ordered(c.Columns, c.Before), After: ordered(c.Columns, c.After), SQL: c.SQL, Reason: c.Reason,
	}
	if from, to, moved := c.MovedRow(); moved {
		out.RowID, out.NewRowID = &from, &to
	}
	return out
}

// ordered is a row as a JSON object with its columns in this order.
func ordered(columns []string, row map[string]any) json.RawMessage {
	if len(row) == 0 {
		return nil
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	values := tagged(row)
	separator := byte('{')
	for _, name := range columns {
		value, has := values[name]
		if !has {
			continue
		}
		b.WriteByte(separator)
		// Neither fails: tagged has replaced what JSON cannot express.
		_ = e.Encode(name)
		b.WriteByte(':')
		_ = e.Encode(value)
		separator = ','
	}
	b.WriteByte('}')
	return bytes.ReplaceAll(b.Bytes(), []byte("\n"), nil) // the encoder's own
}

// tagged replaces the values that JSON, or a reader with 64-bit floats, cannot
// represent.
func tagged(m map[string]any) map[string]any {
	for name, value := range m {
		switch v := value.(type) {
		case []byte:
			m[name] = map[string]string{"$blob": base64.StdEncoding.EncodeToString(v)}
		case string:
			if !utf8.ValidString(v) {
				m[name] = map[string]string{"$text": base64.StdEncoding.EncodeToString([]byte(v))}
			}
		case int64:
			if v > 1<<53 || v < -1<<53 {
				m[name] = map[string]string{"$int": strconv.FormatInt(v, 10)}
			}
		case float64:
			if math.IsInf(v, 0) {
				m[name] = map[string]string{"$real": strings.TrimPrefix(real(v), "+")}
			} else {
				m[name] = json.RawMessage(real(v))
			}
		}
	}
	return m
}
