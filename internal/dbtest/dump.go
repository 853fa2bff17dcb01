// Package dbtest compares databases, for tests.
package dbtest

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// Dump describes the database at path exactly: schema, header values, and
// every row of every table with its rowid and storage classes. DriftDB's own
// tables and the statistics that ANALYZE makes are left out.
func Dump(path string) (string, error) {
	c, err := new(sqlite.Driver).Open(path, sqlite.Options{MustExist: true, KeepJournal: true})
	if err != nil {
		return "", err
	}
	defer c.Close()
	if err := c.Exec("BEGIN"); err != nil {
		return "", err
	}
	var b strings.Builder
	for _, p := range []string{"user_version", "application_id", "encoding"} {
		v, err := c.Text("PRAGMA " + p)
		if err != nil {
			return "", err
		}
		fmt.Fprintln(&b, p, v)
	}
	var tables []string
	err = c.Each(`SELECT type, name, tbl_name, coalesce(sql, '') FROM main.sqlite_schema
		WHERE tbl_name NOT LIKE '\_driftdb%' ESCAPE '\' AND tbl_name NOT LIKE 'sqlite_stat%' ORDER BY type, name`, func(st *sqlite.Stmt) error {
		fmt.Fprintf(&b, "%s %s %s %s\n", st.Text(0), st.Text(1), st.Text(2), st.Text(3))
		if st.Text(0) == "table" && !strings.HasPrefix(st.Text(3), "CREATE VIRTUAL") {
			tables = append(tables, st.Text(1))
		}
		return nil
	})
	if err != nil {
		return "", err
	}
	for _, t := range tables {
		if err := dumpTable(&b, c, t); err != nil {
			return "", fmt.Errorf("dump %s: %w", t, err)
		}
	}
	return b.String(), nil
}

func dumpTable(b *strings.Builder, c *sqlite.Conn, table string) error {
	names, rowid := []string{}, ""
	info, err := c.Prepare("SELECT name FROM pragma_table_xinfo(?1, 'main')")
	if err != nil {
		return err
	}
	info.BindText(1, table)
	err = info.Each(func(st *sqlite.Stmt) error { names = append(names, st.Text(0)); return nil })
	info.Finalize()
	if err != nil {
		return err
	}
	lower := strings.ToLower(strings.Join(names, "\x00"))
	if without, err := c.Int("SELECT wr FROM pragma_table_list('" + strings.ReplaceAll(table, "'", "''") + "') WHERE schema='main'"); err != nil {
		return err
	} else if without == 0 && table != "sqlite_sequence" {
		for _, alias := range []string{"rowid", "oid", "_rowid_"} {
			if !slices.Contains(strings.Split(lower, "\x00"), alias) {
				rowid = alias
			}
		}
	}
	q := "SELECT "
	if rowid != "" {
		q += rowid + ", "
	}
	for i, n := range names {
		if i > 0 {
			q += ", "
		}
		q += `+"` + strings.ReplaceAll(n, `"`, `""`) + `"`
	}
	var rows []string
	err = c.Each(q+` FROM main."`+strings.ReplaceAll(table, `"`, `""`)+`"`, func(st *sqlite.Stmt) error {
		rows = append(rows, formatRow(st, table))
		return nil
	})
	slices.Sort(rows)
	for _, r := range rows {
		b.WriteString(r)
	}
	return err
}

func formatRow(st *sqlite.Stmt, table string) string {
	var b strings.Builder
	b.WriteString(table)
	for i := range st.ColumnCount() {
		switch st.Type(i) {
		case 1:
			fmt.Fprintf(&b, "|%d", st.Int64(i))
		case 2:
			fmt.Fprintf(&b, "|real %x %g", math.Float64bits(st.Float(i)), st.Float(i))
		case 3:
			fmt.Fprintf(&b, "|%q", st.View(i))
		case 4:
			fmt.Fprintf(&b, "|x'%x'", st.View(i))
		default:
			b.WriteString("|NULL")
		}
	}
	b.WriteByte('\n')
	return b.String()
}

// Diff lists up to a dozen lines that only one of two dumps has.
func Diff(source, restored string) string {
	count := map[string]int{}
	for l := range strings.Lines(source) {
		count[l]++
	}
	for l := range strings.Lines(restored) {
		count[l]--
	}
	var out []string
	for l, n := range count {
		switch {
		case n > 0:
			out = append(out, fmt.Sprintf("only in the source:   %.300s", l))
		case n < 0:
			out = append(out, fmt.Sprintf("only in the restored: %.300s", l))
		}
	}
	slices.Sort(out)
	return strings.Join(out[:min(len(out), 12)], "")
}

// Equal fails the test unless both databases hold the same.
func Equal(t testing.TB, source, restored string) {
	t.Helper()
	a, err := Dump(source)
	if err != nil {
		t.Fatalf("dump %s: %v", source, err)
	}
	b, err := Dump(restored)
	if err != nil {
		t.Fatalf("dump %s: %v", restored, err)
	}
	if a != b {
		t.Fatalf("the restored database differs:\n%s", Diff(a, b))
	}
}
