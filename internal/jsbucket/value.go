package jsbucket

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// field is a member of a JSON object.
type field struct {
	name  string
	value value
}

// fields reads a JSON object in its own order.
func fields(raw json.RawMessage) (list []field, err error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, errors.Join(errors.New("it is not a JSON object"), err)
	}
	names := map[string]bool{}
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return nil, err
		}
		name, _ := t.(string)
		var v json.RawMessage
		if err := d.Decode(&v); err != nil {
			return nil, err
		}
		if names[name] {
			return nil, fmt.Errorf("the member %q is there twice", name)
		}
		names[name] = true
		list = append(list, field{name, value(v)})
	}
	_, err = d.Token()
	return list, err
}

// value is what JSON.stringify made of a value that the package bound.
type value json.RawMessage

func (v value) isObject() bool { return bytes.HasPrefix(v, []byte("{")) }
func (v value) isArray() bool  { return bytes.HasPrefix(v, []byte("[")) }
func (v value) isNull() bool   { return string(v) == "null" }

// bind binds the value as the package does: numbers and booleans as REAL, which a column's
// type makes an INTEGER; a Buffer as a BLOB; other objects and arrays as their JSON. In a
// column without a type, a whole number is an INTEGER.
func (v value) bind(st *sqlite.Stmt, i int, loose bool) {
	var n float64
	switch {
	case v.isNull():
		st.BindNull(i)
		return
	case string(v) == "true":
		n = 1
	case string(v) == "false":
	case v[0] == '"':
		st.BindText(i, v.text())
		return
	case v.isObject() || v.isArray():
		if blob, ok := v.buffer(); ok {
			st.BindBlob(i, blob)
			return
		}
		var compact bytes.Buffer
		_ = json.Compact(&compact, v) // it was read as JSON
		st.BindText(i, compact.String())
		return
	default:
		n, _ = strconv.ParseFloat(string(v), 64) // a number of JavaScript is a float64
	}
	if loose && n == math.Trunc(n) && math.Abs(n) <= 1<<53 {
		st.BindInt64(i, int64(n))
		return
	}
	st.BindFloat(i, n)
}

func (v value) text() (s string) {
	_ = json.Unmarshal(v, &s) // it was read as JSON
	return s
}

// buffer reads {"type":"Buffer","data":[…]}, which is how Node.js writes a Buffer.
func (v value) buffer() ([]byte, bool) {
	var b struct {
		Type string
		Data *[]int
	}
	list, err := fields(json.RawMessage(v))
	if err != nil || len(list) != 2 || json.Unmarshal(v, &b) != nil || b.Type != "Buffer" || b.Data == nil {
		return nil, false
	}
	blob := make([]byte, len(*b.Data))
	for i, n := range *b.Data {
		if n < 0 || n > 255 {
			return nil, false
		}
		blob[i] = byte(n)
	}
	return blob, true
}

// comparisons are the operators of a condition, in the order in which the package reads
// them.
var comparisons = []struct{ name, sql string }{
	{"$gt", " > ?"}, {"$gte", " >= ?"}, {"$lt", " < ?"}, {"$lte", " <= ?"}, {"$ne", " != ?"}, {"$like", " LIKE ?"},
}

// where appends the condition as the package makes one. An object without any of its
// operators is no condition for it.
func (j *job) where(q *query, t *table, e entry, raw json.RawMessage) error {
	list, err := fields(raw)
	if err != nil {
		return fmt.Errorf("where: %w", err)
	}
	var parts []string
	for _, f := range list {
		if _, ok := t.columns[folded(f.name)]; !ok {
			return cmp.Or(j.unclear("table %q has no column %q, by which change %d finds its rows", e.Table, f.name, e.Sequence), errLeftOut)
		}
		name := quote(f.name)
		switch {
		case f.value.isNull():
			parts = append(parts, name+" IS NULL")
		case f.value.isArray():
			return fmt.Errorf("where: column %q is compared with a list", f.name)
		case !f.value.isObject():
			parts = append(parts, name+" = ?")
			q.bind(t, f.name, f.value)
		default:
			more, err := operators(q, t, f)
			if err != nil {
				return err
			}
			parts = append(parts, more...)
		}
	}
	if len(parts) > 0 {
		q.text.WriteString(" WHERE " + strings.Join(parts, " AND "))
	}
	return nil
}

func operators(q *query, t *table, f field) (parts []string, err error) {
	members, err := fields(json.RawMessage(f.value))
	if err != nil {
		return nil, err
	}
	ops := map[string]value{}
	for _, m := range members {
		ops[m.name] = m.value
	}
	name := quote(f.name)
	for _, c := range comparisons {
		if v, ok := ops[c.name]; ok {
			parts = append(parts, name+c.sql)
			q.bind(t, f.name, v)
		}
	}
	in, ok := ops["$in"]
	if !ok || !in.isArray() {
		return parts, nil
	}
	var among []json.RawMessage
	if err := json.Unmarshal(in, &among); err != nil {
		return nil, err
	}
	if len(among) == 0 {
		return append(parts, "0 = 1"), nil
	}
	for _, v := range among {
		q.bind(t, f.name, value(v))
	}
	return append(parts, name+" IN (?"+strings.Repeat(",?", len(among)-1)+")"), nil
}

func quote(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }
