package repository_test

import (
	"bytes"
	"encoding/json"

	"github.com/driftdb/driftdb-go"
	"pgregory.net/rapid"
)

// filtered is a Where, and the same as a plain function of a row. Neither has an empty
// part, but maybe the whole.
type filtered struct {
	where driftdb.Where
	holds func(row map[string]any) bool
}

// someWhere is a Where of some columns, and of others in one another.
func someWhere(columns []string, deep int) *rapid.Generator[filtered] {
	return rapid.Custom(func(t *rapid.T) filtered {
		w := driftdb.Where{}
		var parts []func(map[string]any) bool
		for _, c := range rapid.SliceOfNDistinct(rapid.SampledFrom(columns), 0, 3, rapid.ID).Draw(t, "columns") {
			cond := someCondition(c).Draw(t, c)
			w[c] = cond.spelled
			parts = append(parts, func(row map[string]any) bool { return cond.holds(row[c]) })
		}
		for _, key := range []string{"$or", "$and", "$not"} {
			if deep == 0 || rapid.IntRange(0, 2).Draw(t, key) > 0 {
				continue
			}
			inner := rapid.SliceOfN(someWhere(columns, deep-1).Filter(func(f filtered) bool { return len(f.where) > 0 }), 1, 3).Draw(t, key+" of")
			if key == "$not" {
				inner = inner[:1]
			}
			if key == "$or" && rapid.IntRange(0, 9).Draw(t, "nothing") == 0 {
				inner = nil
			}
			w[key] = spelledGroup(t, key, inner)
			parts = append(parts, func(row map[string]any) bool { return holdsGroup(key, inner, row) })
		}
		return filtered{w, func(row map[string]any) bool {
			for _, holds := range parts {
				if !holds(row) {
					return false
				}
			}
			return true
		}}
	})
}

func holdsGroup(key string, inner []filtered, row map[string]any) bool {
	n := 0
	for _, f := range inner {
		n += b2i(f.holds(row))
	}
	switch key {
	case "$or":
		return n > 0
	case "$and":
		return n == len(inner)
	}
	return n == 0
}

// spelledGroup spells a key's condition in one of the ways that it has.
func spelledGroup(t *rapid.T, key string, inner []filtered) any {
	wheres, maps, anys := []driftdb.Where{}, []map[string]any{}, []any{}
	for i, f := range inner {
		wheres, maps = append(wheres, f.where), append(maps, f.where)
		if i%2 == 0 {
			anys = append(anys, f.where)
		} else {
			anys = append(anys, map[string]any(f.where))
		}
	}
	way := rapid.IntRange(0, 2).Draw(t, "way")
	switch {
	case key == "$not" && way == 0:
		return driftdb.Not(wheres[0])["$not"]
	case key == "$not":
		return anys[0]
	case key == "$or" && way == 0:
		return driftdb.Or(wheres...)["$or"]
	}
	return [...]any{wheres, maps, anys}[way]
}

// whereThroughJSON is what JSON makes of a Where.
func whereThroughJSON(t *rapid.T, v map[string]any) driftdb.Where {
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var w driftdb.Where
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	if err := d.Decode(&w); err != nil {
		t.Fatal(err)
	}
	return w
}
