package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/driftdb/driftdb-go/internal/terminal"
)

// TestTable: on a terminal values are in columns, numbers to the right, and a row that is
// wider than those before moves nothing that is printed.
func TestTable(t *testing.T) {
	var b strings.Builder
	out := &table{out: terminal.New(&b), layout: terminal.Layout{Width: 80}}
	check(t, out.begin([]string{"name", "n"}))
	for _, row := range [][]any{{"ada", int64(12345)}, {"bob\n", 1.5}, {nil, []byte{1}}} {
		check(t, out.add(row))
	}
	check(t, out.end())
	check(t, out.add([]any{"somewhat longer", int64(1)}))
	check(t, out.end())
	const want = `name   n
-----  -----
ada    12345
bob\n    1.5
NULL   x'01'
somewhat longer      1
`
	if b.String() != want {
		t.Errorf("\n%s\nwant\n%s", b.String(), want)
	}
}

// TestSplitScript: a semicolon ends a statement, unless it is in a text, a name or a
// comment.
func TestSplitScript(t *testing.T) {
	for script, want := range map[string]string{
		"":                                  "",
		" ; -- x\n /* ; */ ":                "",
		"SELECT 1":                          "1+SELECT 1",
		"SELECT 1;\n\nSELECT 2; ":           "1:SELECT 1 3:SELECT 2",
		"\n-- a;\nSELECT ';' ; b":           "3:SELECT ';'  3+b",
		`SELECT 'it''s;', "a;""", [b;], x;`: `1:SELECT 'it''s;', "a;""", [b;], x`,
		"SELECT `;` /* ; \n */ ;x":          "1:SELECT `;` /* ; \n */  2+x",
		"SELECT ';":                         "1+SELECT ';",
		"SELECT 1 - 1 -- ;":                 "1+SELECT 1 - 1 -- ;",
	} {
		list, rest := splitScript(script)
		var got []string
		for _, s := range list {
			got = append(got, fmt.Sprintf("%d:%s", s.line, s.text))
		}
		if rest.text != "" {
			got = append(got, fmt.Sprintf("%d+%s", rest.line, rest.text))
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%q: %q, want %q", script, got, want)
		}
	}
}
