package main

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/driftdb/driftdb-go/internal/terminal"
)

// statusColumns are those of the table. On a narrow terminal some are left out.
var statusColumns = []terminal.Column{
	{Name: "DATABASE", Enough: 24, Shrink: true},
	{Name: "CHANGE", Right: true},
	{Name: "UPDATED"},
	{Name: "EARLIEST", Drop: 1},
	{Name: "SNAPSHOT", Drop: 4},
	{Name: "OBJECTS", Right: true, Drop: 3},
	{Name: "SIZE", Right: true},
	{Name: "VERIFIED", Drop: 2},
	{Name: "WRITER", Drop: 5},
	{Name: "EPOCH", Right: true, Drop: 6},
	{Name: "VERIFIED CHANGE", Piped: true},
	{Name: "ERROR", Piped: true},
}

func (a *app) reportStatus(list []databaseStatus) error {
	if a.json {
		return a.stdout.JSON(list)
	}
	if len(list) == 0 {
		return nil
	}
	table := a.stdout.Table(a.stdout.Layout(), statusColumns...)
	list, depths := tree(list)
	now, branches := time.Now(), 0
	for i, s := range list {
		s.addTo(table, depths[i], now)
		if s.backupStatus != nil {
			branches += len(s.Branches)
		}
	}
	if err := table.Flush(); err != nil {
		return err
	}
	if err := a.totals(list); err != nil {
		return err
	}
	if table.Cut {
		a.stderr.Printf("note: some names are cut to fit the terminal; with --json, or in a pipe, they are whole\n")
	}
	if branches > 0 {
		a.stderr.Printf("hint: driftdb restore --branch ID writes a branch, with the history before it, to a file\n")
	}
	return nil
}

// totals prints on a terminal what there is of all databases.
func (a *app) totals(list []databaseStatus) error {
	if len(list) < 2 || !a.stdout.IsTerminal() {
		return nil
	}
	objects, bytes := int64(0), int64(0)
	for _, s := range list {
		if s.backupStatus != nil {
			objects, bytes = objects+int64(s.Objects), bytes+s.Bytes
		}
	}
	return a.stdout.Printf("%s, %s, %s\n", plural(int64(len(list)), "database", "databases"), plural(objects, "object", "objects"), size(bytes))
}

// addTo adds the database to the table, with what there is to say about it below.
func (s databaseStatus) addTo(table *terminal.Table, depth int, now time.Time) {
	margin := strings.Repeat("  ", depth)
	name := terminal.Cell{Text: margin + s.Database, Raw: s.Database}
	if s.backupStatus == nil {
		cells := slices.Repeat([]terminal.Cell{{Text: "-"}}, len(statusColumns))
		cells[0], cells[len(cells)-1] = name, terminal.Cell{Text: strings.TrimPrefix(s.Error, "driftdb: ")}
		style, about := terminal.Red, "unreadable: "+cells[len(cells)-1].Text
		if s.Error == nothingYet {
			style, about = terminal.Dim, nothingYet
		}
		table.AddAbout(style, about, cells...)
		return
	}
	table.Add(append([]terminal.Cell{name}, s.cells(now)...)...)
	indent := 2*depth + 2
	if f := s.ForkOf; f != nil {
		table.Note(indent, terminal.Dim, fmt.Sprintf("fork of %s after change %d", f.Database, f.Sequence))
	}
	if s.HeldObjects > 0 {
		table.Note(indent, terminal.Dim, fmt.Sprintf("kept for %s: %s (%s)", strings.Join(s.Forks, ", "), plural(int64(s.HeldObjects), "object", "objects"), size(s.HeldBytes)))
	}
	for _, fault := range s.Faults {
		table.Note(indent, terminal.Yellow, "fault: "+fault)
	}
	for _, b := range s.Branches {
		stored := b.StoredAt.String()
		if table.Aligned() {
			stored = ago(time.Time(b.StoredAt), now)
		}
		table.Note(indent, terminal.Yellow, fmt.Sprintf("branch %s: changes %d to %d, %s, stored %s", b.ID, b.From, b.To, size(b.Bytes), stored))
	}
}

// cells are those of the row, but for the name.
func (s *backupStatus) cells(now time.Time) []terminal.Cell {
	age := func(t instant) terminal.Cell { return terminal.Cell{Text: ago(time.Time(t), now), Raw: t.String()} }
	number := func(n int64) terminal.Cell { return terminal.Cell{Text: count(n), Raw: strconv.FormatInt(n, 10)} }
	from := terminal.Cell{Text: "change " + count(s.EarliestSequence), Raw: strconv.FormatInt(s.EarliestSequence, 10)}
	if !s.EarliestTime.IsZero() {
		from.Text = local(time.Time(s.EarliestTime))
	}
	verified := terminal.Cell{Text: "-"}
	if !s.VerifiedAt.IsZero() {
		verified = number(s.VerifiedSequence)
	}
	return []terminal.Cell{
		number(s.Sequence), age(s.UpdatedAt), from, age(s.SnapshotTime), number(int64(s.Objects)),
		{Text: size(s.Bytes), Raw: strconv.FormatInt(s.Bytes, 10)}, age(s.VerifiedAt),
		{Text: cmp.Or(s.Writer, "-")}, number(s.Epoch), verified, {Text: "-"},
	}
}

// tree puts each fork below the database it came from, if that is in the list, and returns
// how deep each one is.
func tree(list []databaseStatus) (ordered []databaseStatus, depths []int) {
	children := map[string][]databaseStatus{}
	there := map[string]bool{}
	for _, s := range list {
		if s.backupStatus != nil {
			there[s.DatabaseID] = true
		}
	}
	for _, s := range list {
		above := ""
		if s.backupStatus != nil && s.ForkOf != nil && there[s.ForkOf.DatabaseID] {
			above = s.ForkOf.DatabaseID
		}
		children[above] = append(children[above], s)
	}
	var add func(below string, depth int)
	add = func(below string, depth int) {
		for _, s := range children[below] {
			ordered, depths = append(ordered, s), append(depths, depth)
			if s.backupStatus != nil {
				add(s.DatabaseID, depth+1)
			}
		}
	}
	add("", 0)
	for _, s := range list { // no database comes from itself, but a stranger may say so
		if !slices.ContainsFunc(ordered, func(o databaseStatus) bool { return o.Database == s.Database }) {
			ordered, depths = append(ordered, s), append(depths, 0)
		}
	}
	return ordered, depths
}
