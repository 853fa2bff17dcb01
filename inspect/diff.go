package inspect

import (
	"context"
	"fmt"
	"strings"

	"github.com/driftdb/driftdb-go"
)

const (
	diffRows    = 200     // differences that are shown
	diffCounted = 200_000 // differences that are counted
)

// diffBody is the page of the differences between two points.
type diffBody struct {
	From, To string // as typed
	Table    string
	Asked    bool
	Counts   []diffCount
	Changes  []changeView
	Total    int
	Cut      bool // there are more than were counted
	Action   string
	Barrier  string // why the two points were compared row by row
}

// diffCount is how many rows of a table differ.
type diffCount struct {
	Table                      []piece
	Link                       string
	Inserted, Updated, Deleted int
}

// diffPage shows what differs between two points.
func (h *Handler) diffPage(v *visit) (*view, error) {
	q := v.URL.Query()
	b := diffBody{From: strings.TrimSpace(q.Get("from")), To: strings.TrimSpace(q.Get("to")), Table: q.Get("table"), Action: v.link("diff")}
	page := &view{template: "diff", Title: "Differences", Tab: "Diff", Commands: []command{v.command("Compare two points", "diff", "FROM", "TO", "--stat")}}
	if b.From == "" {
		page.Body = b
		return page, nil
	}
	from, err := v.sequence(b.From)
	if err != nil {
		return nil, err
	}
	to, err := v.sequence(b.To)
	if err != nil {
		return nil, err
	}
	b.Asked, b.From, b.To = true, fmt.Sprint(from), fmt.Sprint(to)
	select { // it may restore both states, and one restore runs at a time
	case h.past.turn <- struct{}{}:
	case <-v.ctx.Done():
		return nil, context.Cause(v.ctx)
	}
	err = b.compare(v, from, to)
	<-h.past.turn
	if err != nil {
		return nil, err
	}
	page.Body = b
	page.Commands = []command{
		v.command("Print these differences", "diff", fmt.Sprint(from), fmt.Sprint(to)),
		v.command("Count them", "diff", fmt.Sprint(from), fmt.Sprint(to), "--stat"),
		v.command("Print a script that makes them", "diff", fmt.Sprint(from), fmt.Sprint(to), "--sql"),
	}
	return page, nil
}

// compare reads the differences, counts them, and keeps the first ones.
func (b *diffBody) compare(v *visit, from, to int64) error {
	index := map[string]int{}
	for c, err := range v.backup.Diff(v.ctx, driftdb.Point{Sequence: from}, driftdb.Point{Sequence: to}) {
		if err != nil {
			return err
		}
		if c.Operation == driftdb.OperationBarrier {
			b.Barrier = c.Reason
			continue
		}
		if b.Total == diffCounted {
			b.Cut = true
			return nil
		}
		b.Total++
		i, known := index[c.Table]
		if !known && len(b.Counts) < tablesListed {
			i = len(b.Counts)
			index[c.Table] = i
			line := diffCount{Table: pieces("schema")}
			if c.Table != "" {
				line = diffCount{Table: pieces(shorten(c.Table, 200)), Link: v.link("diff", "from", b.From, "to", b.To, "table", c.Table)}
			}
			b.Counts = append(b.Counts, line)
		}
		if i < len(b.Counts) {
			b.Counts[i].add(c.Operation)
		}
		if len(b.Changes) < diffRows && (b.Table == "" || b.Table == c.Table) {
			b.Changes = append(b.Changes, v.viewDifference(c))
		}
	}
	return nil
}

func (d *diffCount) add(op driftdb.Operation) {
	switch op {
	case driftdb.OperationInsert:
		d.Inserted++
	case driftdb.OperationDelete:
		d.Deleted++
	default:
		d.Updated++
	}
}

// viewDifference is a change without the links to its values: no change of the log has
// them.
func (v *visit) viewDifference(c driftdb.Change) changeView {
	out := v.viewChange(c, brief)
	out.Text.Link = ""
	for _, col := range out.Columns {
		for _, side := range []*value{col.Before, col.After} {
			if side != nil {
				side.Link = ""
			}
		}
	}
	return out
}
