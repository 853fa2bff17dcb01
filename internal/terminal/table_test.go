package terminal

import (
	"strings"
	"testing"
)

// rendered is a table with three columns as it is printed.
func rendered(t *testing.T, layout Layout, fill func(*Table)) (string, *Table) {
	t.Helper()
	var out strings.Builder
	table := New(&out).Table(layout, Column{Name: "NAME", Enough: 6, Shrink: true}, Column{Name: "SIZE", Right: true},
		Column{Name: "WRITER", Drop: 2}, Column{Name: "AGE", Drop: 1}, Column{Name: "ERROR", Piped: true})
	fill(table)
	if err := table.Flush(); err != nil {
		t.Fatal(err)
	}
	return out.String(), table
}

func fill(t *Table) {
	t.Add(Cell{Text: "app"}, Cell{Text: "1.0 KiB", Raw: "1024"}, Cell{Text: "node"}, Cell{Text: "3 days ago", Raw: "2026"}, Cell{Text: "-"})
	t.Note(2, Yellow, "a branch of it")
	t.AddAbout(Red, "unreadable: a byte of the manifest is not what it was", Cell{Text: "東京-tokyo"}, Cell{Text: "-"}, Cell{Text: "-"}, Cell{Text: "-"}, Cell{Text: "bad"})
}

// TestTableFits: a table has the columns for which there is room; first long names are cut,
// then columns go in their order, then cells are cut.
func TestTableFits(t *testing.T) {
	for _, test := range []struct {
		width int
		cut   bool
		want  string
	}{
		{0, false, "NAME\tSIZE\tWRITER\tAGE\tERROR\napp\t1024\tnode\t2026\t-\n\ta branch of it\n東京-tokyo\t-\t-\t-\tbad\n"},
		{60, false, `NAME           SIZE  WRITER  AGE
app         1.0 KiB  node    3 days ago
  a branch of it
東京-tokyo  unreadable: a byte of the manifest is not what
            it was
`},
		{36, true, `NAME        SIZE  WRITER  AGE
app      1.0 KiB  node    3 days ago
  a branch of it
東京-t…  unreadable: a byte of the
         manifest is not what it was
`},
		{30, true, `NAME       SIZE  AGE
app     1.0 KiB  3 days ago
  a branch of it
東京-…  unreadable: a byte of
        the manifest is not
        what it was
`},
		{16, true, `NAME       SIZE
app     1.0 KiB
  a branch of it
東京-…  unreadable:
        a byte
        of the
        manifest
        is not
        what it
        was
`},
	} {
		got, table := rendered(t, Layout{Width: test.width}, fill)
		if got != test.want || table.Cut != test.cut {
			t.Errorf("%d columns, cut %v:\n%s\nwant\n%s", test.width, table.Cut, got, test.want)
		}
	}
}

// TestTableStyles: what stands out does so around the text alone, and nothing does elsewhere
// than on a terminal with colours.
func TestTableStyles(t *testing.T) {
	got, _ := rendered(t, Layout{80, true}, fill)
	for _, want := range []string{"\x1b[1mNAME\x1b[0m        ", "  \x1b[33ma branch of it\x1b[0m\n", "東京-tokyo  \x1b[31munreadable: "} {
		if !strings.Contains(got, want) {
			t.Errorf("%q is not in %q", want, got)
		}
	}
	if got, _ := rendered(t, Layout{Width: 80}, fill); strings.Contains(got, "\x1b") {
		t.Errorf("colours: %q", got)
	}
}

// TestTableHostile: no cell, name or note controls the terminal, or begins a line.
func TestTableHostile(t *testing.T) {
	for what, s := range hostile {
		for _, width := range []int{20, 80} {
			got, _ := rendered(t, Layout{Width: width}, func(table *Table) {
				table.Add(Cell{Text: s}, Cell{Text: s}, Cell{Text: s}, Cell{Text: s}, Cell{Text: s})
				table.Note(2, Red, strings.ReplaceAll(s, " ", ""))
			})
			plain(t, what, got, 3)
		}
		got, _ := rendered(t, Layout{}, func(table *Table) {
			table.Add(Cell{Text: s}, Cell{Text: s}, Cell{Text: s}, Cell{Text: s}, Cell{Text: s, Raw: s})
		})
		plain(t, what, strings.ReplaceAll(got, "\t", ""), 2)
	}
}
