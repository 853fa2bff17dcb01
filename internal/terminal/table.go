package terminal

import (
	"io"
	"slices"
	"strings"

	"github.com/rivo/uniseg"
)

// Column is a column of a Table.
type Column struct {
	Name  string
	Right bool // aligned to the right, as numbers are

	// Where not all columns fit, cells wider than Enough are cut, unless it is 0. Then the
	// column with the largest Drop goes first; one with 0 stays. Then cells are cut further
	// in columns that may Shrink.
	Enough int
	Drop   int
	Shrink bool

	Piped bool // only where there is no terminal
}

// Cell is a value in a Table.
type Cell struct {
	Text  string // on a terminal
	Raw   string // elsewhere; if it is empty, Text
	Style Style
	Right bool // aligned to the right, whatever the column is
}

// Table prints rows: on a terminal in columns that fit its width, elsewhere as lines with a
// tab between the cells, always with all columns. It holds the rows back until Flush, to
// find the widths of the columns; later rows may make a column wider. Only one goroutine may
// use it.
type Table struct {
	// Rule draws a line below the names.
	Rule bool
	// Cut tells whether a cell was cut to fit.
	Cut bool

	out     *Screen
	layout  Layout
	columns []Column
	shown   []int // the columns that fit, by their numbers
	widths  []int // of all columns, as they are printed
	rows    []row // not printed yet
	begun   bool  // the names are printed
}

// row is a row, or a note below one.
type row struct {
	cells  []Cell
	rule   bool   // a line below the names
	about  string // on a terminal, instead of all cells but the first
	note   bool   // about is a line of its own
	indent int    // of a note
	style  Style  // of about
}

// Table returns a table that prints to s. The layout may be that of another screen, which s
// is a buffer of.
func (s *Screen) Table(layout Layout, columns ...Column) *Table {
	t := &Table{out: s, layout: layout, columns: columns, widths: make([]int, len(columns))}
	for i, c := range columns {
		if layout.Width == 0 || !c.Piped {
			t.shown = append(t.shown, i)
		}
	}
	return t
}

// Aligned reports whether the rows are printed for people.
func (t *Table) Aligned() bool { return t.layout.Width > 0 }

// Add adds a row, with a cell for each column.
func (t *Table) Add(cells ...Cell) { t.rows = append(t.rows, row{cells: cells}) }

// AddAbout adds a row that, on a terminal, has a text instead of all cells but the first.
func (t *Table) AddAbout(style Style, about string, cells ...Cell) {
	t.rows = append(t.rows, row{cells: cells, about: about, style: style})
}

// Note adds a line about the row before it. Elsewhere than on a terminal its first cell is
// empty.
func (t *Table) Note(indent int, style Style, text string) {
	t.rows = append(t.rows, row{about: text, note: true, indent: indent, style: style})
}

// Flush prints what was added.
func (t *Table) Flush() error {
	var b strings.Builder
	if !t.begun {
		t.head()
	}
	if t.layout.Width > 0 {
		t.measure()
		t.fit()
	}
	for _, r := range t.rows {
		t.print(&b, r)
	}
	t.rows, t.begun = nil, true
	_, err := io.WriteString(t.out.w, b.String())
	return err
}

// head puts the names of the columns before the first row, and the line below them.
func (t *Table) head() {
	names := make([]Cell, len(t.columns))
	for i, c := range t.columns {
		names[i] = Cell{Text: c.Name, Style: Bold}
	}
	head := []row{{cells: names}}
	if t.Rule && t.layout.Width > 0 {
		head = append(head, row{rule: true})
	}
	t.rows = slices.Concat(head, t.rows)
}

// measure widens the columns to their cells.
func (t *Table) measure() {
	for _, r := range t.rows {
		if r.about != "" {
			r.cells = r.cells[:min(len(r.cells), 1)]
		}
		for i, c := range r.cells {
			t.widths[i] = max(t.widths[i], width(c.Text))
		}
	}
}

// narrowest is the width below which no column is cut.
const narrowest = 8

// fit leaves out columns and cuts others until a row fits the terminal. If it cannot, rows
// stay too long, and the terminal wraps them.
func (t *Table) fit() {
	over := func() int {
		sum := 2 * (len(t.shown) - 1)
		for _, i := range t.shown {
			sum += t.widths[i]
		}
		return sum - t.layout.Width
	}
	for _, i := range t.shown {
		if more := over(); more > 0 && t.columns[i].Enough > 0 {
			t.widths[i] = min(t.widths[i], max(t.columns[i].Enough, t.widths[i]-more))
		}
	}
	for over() > 0 && !t.begun {
		last := slices.MaxFunc(t.shown, func(a, b int) int { return t.columns[a].Drop - t.columns[b].Drop })
		if t.columns[last].Drop == 0 {
			break
		}
		t.shown = slices.DeleteFunc(t.shown, func(i int) bool { return i == last })
	}
	before := slices.Clone(t.widths)
	for more := over(); more > 0; more = over() {
		widest := -1
		for _, i := range t.shown {
			if t.columns[i].Shrink && t.widths[i] > narrowest && (widest < 0 || t.widths[i] > t.widths[widest]) {
				widest = i
			}
		}
		if widest < 0 { // there are too many
			copy(t.widths, before)
			return
		}
		t.widths[widest]--
	}
}

func (t *Table) print(b *strings.Builder, r row) {
	switch {
	case t.layout.Width == 0 && r.note:
		b.WriteString("\t" + Escape(r.about) + "\n")
	case t.layout.Width == 0:
		for n, i := range t.shown {
			if n > 0 {
				b.WriteString("\t")
			}
			text := r.cells[i].Raw
			if text == "" {
				text = r.cells[i].Text
			}
			b.WriteString(Escape(text))
		}
		b.WriteString("\n")
	case r.note:
		margin := strings.Repeat(" ", r.indent)
		for _, line := range wrap(Escape(r.about), t.layout.Width-r.indent) {
			b.WriteString(margin + t.layout.paint(r.style, line) + "\n")
		}
	case r.about != "":
		first := t.cell(r.cells[0], 0)
		margin := strings.Repeat(" ", t.widths[0]+2)
		for i, line := range wrap(Escape(r.about), t.layout.Width-t.widths[0]-2) {
			if i > 0 {
				first = margin[2:]
			}
			b.WriteString(first + "  " + t.layout.paint(r.style, line) + "\n")
		}
	default:
		t.line(b, r)
	}
}

// line prints a row in columns.
func (t *Table) line(b *strings.Builder, r row) {
	var line strings.Builder
	for n, i := range t.shown {
		if n > 0 {
			line.WriteString("  ")
		}
		if r.rule {
			line.WriteString(strings.Repeat("-", t.widths[i]))
		} else {
			line.WriteString(t.cell(r.cells[i], i))
		}
	}
	b.WriteString(strings.TrimRight(line.String(), " ") + "\n")
}

// cell is a cell as wide as its column, or wider if it may not be cut.
func (t *Table) cell(c Cell, column int) string {
	text := Escape(c.Text)
	if width(text) > t.widths[column] && (t.columns[column].Shrink || t.columns[column].Enough > 0) {
		text, t.Cut = cut(text, t.widths[column]), true
	}
	fill := strings.Repeat(" ", max(0, t.widths[column]-width(text)))
	if text = t.layout.paint(c.Style, text); c.Right || t.columns[column].Right {
		return fill + text
	}
	return text + fill
}

// width is how many columns of a terminal a text takes.
func width(text string) int { return uniseg.StringWidth(Escape(text)) }

// cut shortens a text to a width, and ends it with an ellipsis.
func cut(text string, to int) string {
	var b strings.Builder
	room := to - 1
	for state := -1; text != ""; {
		var cluster string
		var wide int
		cluster, text, wide, state = uniseg.FirstGraphemeClusterInString(text, state)
		if room -= wide; room < 0 {
			break
		}
		b.WriteString(cluster)
	}
	return b.String() + "…"
}

// wrap breaks a text between words into lines of a width. A longer word is left whole.
func wrap(text string, to int) (lines []string) {
	line := ""
	for word := range strings.FieldsSeq(text) {
		switch {
		case line == "":
			line = word
		case width(line)+1+width(word) <= to:
			line += " " + word
		default:
			lines, line = append(lines, line), word
		}
	}
	return append(lines, line)
}
