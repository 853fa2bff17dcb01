package main

import (
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
	var b strings.Builder
	table := c.Table
	if table == "" {
		table = "-"
	}
	fmt.Fprintf(&b, "%s %d %s %s", stamp(c.Time), c.Sequence, word(table), c.Operation)
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

// columns formats the columns of a change, sorted by name.
func columns(c driftdb.Change) []string {
	switch c.Operation {
	case driftdb.OperationInsert:
		return pairs(c.After)
	case driftdb.OperationDelete:
		return pairs(c.Before)
	}
	var out []string
	for _, name := range slices.Sorted(maps.Keys(c.After)) {
		before := "?"
		if v, ok := c.Before[name]; ok {
			before = literal(v)
		}
		out = append(out, word(name)+"="+before+"->"+literal(c.After[name]))
	}
	return out
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
	Before    map[string]any    `json:"before,omitempty"`
	After     map[string]any    `json:"after,omitempty"`
	SQL       string            `json:"sql,omitempty"`
	Reason    string            `json:"reason,omitempty"`
}

func jsonChange(c driftdb.Change) changeJSON {
	return changeJSON{
		Sequence: c.Sequence, Tx: c.Tx, Time: instant(c.Time), Operation: c.Operation, Table: c.Table,
		Key: tagged(c.Key), Before: tagged(c.Before), After: tagged(c.After), SQL: c.SQL, Reason: c.Reason,
	}
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
