package main

import (
	"reflect"
	"testing"
)

// TestParseKey: what a key on the command line means, for a table whose keys look so.
func TestParseKey(t *testing.T) {
	number, text := map[string]any{"id": int64(7)}, map[string]any{"id": "u1"}
	pair := map[string]any{"a": "x", "b": 1.5}
	for _, c := range []struct {
		texts  []string
		sample map[string]any
		want   map[string]any // nil: an error
	}{
		{[]string{"5"}, number, map[string]any{"id": int64(5)}},
		{[]string{"id=5"}, number, map[string]any{"id": int64(5)}},
		{[]string{"ID=5.5"}, number, map[string]any{"id": 5.5}},
		{[]string{"'5'"}, number, map[string]any{"id": "5"}},
		{[]string{"five"}, number, map[string]any{"id": "five"}},
		{[]string{"5"}, text, map[string]any{"id": "5"}},
		{[]string{"a=b"}, text, map[string]any{"id": "a=b"}},
		{[]string{"id=a=b"}, text, map[string]any{"id": "a=b"}},
		{[]string{"'it''s'"}, text, map[string]any{"id": "it's"}},
		{[]string{""}, text, map[string]any{"id": ""}},
		{[]string{"x'00ff'"}, map[string]any{"id": []byte{1}}, map[string]any{"id": []byte{0, 255}}},
		{[]string{"a=x,y", "b=2"}, pair, map[string]any{"a": "x,y", "b": int64(2)}},
		{[]string{"a=x"}, pair, nil},
		{[]string{"x", "b=2"}, pair, nil},
		{[]string{"a=x", "a=y"}, pair, nil},
		{[]string{"1", "2"}, number, nil},
	} {
		got, err := parseKey("t", c.texts, c.sample)
		if (err != nil) != (c.want == nil) || err == nil && !reflect.DeepEqual(got, c.want) {
			t.Errorf("%q is %v, %v; want %v", c.texts, got, err, c.want)
		}
	}
}
