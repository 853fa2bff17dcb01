package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/terminal"
)

// printed is what a printer makes of changes.
func printed(t *testing.T, set func(*changePrinter), changes ...driftdb.Change) (out, notes string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	a := &app{stdout: terminal.New(&stdout), stderr: terminal.New(&stderr)}
	p := a.newChangePrinter(false, false)
	set(p)
	for _, c := range changes {
		if err := p.print(c); err != nil {
			t.Fatal(err)
		}
	}
	if err := p.end(); err != nil {
		t.Fatal(err)
	}
	return stdout.String(), stderr.String()
}

func insert(tx, sequence int64) driftdb.Change {
	return driftdb.Change{Tx: tx, Sequence: sequence, Table: "t", Operation: driftdb.OperationInsert, After: map[string]any{"a": sequence}, Columns: []string{"a"}}
}

// TestChangeBlocks: a block for each transaction, however large, with colours if they are
// wanted.
func TestChangeBlocks(t *testing.T) {
	plain := func(*changePrinter) {}
	got, _ := printed(t, plain, insert(1, 1), insert(2, 2), insert(2, 3))
	if want := "- transaction 1, 1 change\n  1 t insert a=1\n- transaction 2, 2 changes\n  2 t insert a=2\n  3 t insert a=3\n"; got != want {
		t.Errorf("got %q", got)
	}
	got, _ = printed(t, func(p *changePrinter) { p.colours = true }, insert(1, 1))
	if want := "\x1b[1m- transaction 1\x1b[0m, 1 change\n  1 t \x1b[32minsert\x1b[0m a=1\n"; got != want {
		t.Errorf("in colours: %q", got)
	}
	got, _ = printed(t, func(p *changePrinter) { p.live = true }, insert(1, 1), insert(1, 2))
	if want := "- transaction 1\n  1 t insert a=1\n  2 t insert a=2\n"; got != want {
		t.Errorf("live: %q", got)
	}
	var many []driftdb.Change
	for i := range int64(mostInBlock + 5) {
		many = append(many, insert(1, i+1))
	}
	got, _ = printed(t, plain, append(many, insert(mostInBlock+6, mostInBlock+6))...)
	if lines := strings.Split(got, "\n"); len(lines) != mostInBlock+5+4 || lines[0] != "- transaction 1, more than 10,000 changes" ||
		lines[mostInBlock+6] != "- transaction 10006, 1 change" {
		t.Errorf("a large one: %d lines, %q, %q", len(lines), lines[0], lines[mostInBlock+6])
	}
}

// TestChangeScript: line breaks and tabs of a statement are printed as they are, and what
// cannot be is said.
func TestChangeScript(t *testing.T) {
	sql := func(p *changePrinter) { p.sql = true }
	schema := func(text string) driftdb.Change {
		return driftdb.Change{Tx: 1, Sequence: 1, Operation: driftdb.OperationSchema, SQL: text}
	}
	got, notes := printed(t, sql, schema("CREATE TABLE t (\r\n\ta -- one\n)"))
	if want := "-- - transaction 1\nBEGIN;\nCREATE TABLE t (\n\ta -- one\n);\nCOMMIT;\n"; !strings.HasSuffix(got, want) || notes != "" {
		t.Errorf("got %q, %q", got, notes)
	}
	got, notes = printed(t, sql, schema("CREATE TABLE \"\x1b[2J\"(a)"))
	if strings.Contains(got, "\x1b") || !strings.Contains(notes, "cannot be printed") {
		t.Errorf("got %q, %q", got, notes)
	}
}
