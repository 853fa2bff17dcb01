package inspect

import (
	"fmt"
	"time"

	"github.com/driftdb/driftdb-go"
)

const (
	rowVersions = 100     // changes of a row on a page, the newest ones
	rowWindow   = 200_000 // newest changes of the log that are searched at first
)

// rowBody is the page of a row's life.
type rowBody struct {
	Table    []piece
	Key      []piece
	Versions []rowVersion // newest first
	Total    int          // of them, and of those that are not shown
	Log      string
	From     int64  // the first change that was searched
	All      string // link to a search of the whole log
}

// rowVersion is what a change made of the row.
type rowVersion struct {
	Change changeView
	Time   time.Time
	Tx     int64
	TxLink string
	Past   string // the table as it was then
}

// rowPage shows the life of a row, also under other keys.
func (h *Handler) rowPage(v *visit) (*view, error) {
	table, text := v.URL.Query().Get("table"), v.URL.Query().Get("key")
	if table == "" || text == "" {
		return nil, bad("the row is missing: an address of a row has a table and a key")
	}
	key, err := v.key(table, text)
	if err != nil {
		return nil, err
	}
	first, last, err := v.bounds()
	if err != nil {
		return nil, err
	}
	from := max(first, last-rowWindow+1)
	if v.URL.Query().Get("all") != "" {
		from = first
	}
	// The library keeps the whole life in memory, until it has found the last change: the
	// page, and the time for it, are what bounds it here.
	var life []driftdb.Change
	total := 0
	for c, err := range v.changes(v.ctx, driftdb.ChangeQuery{From: from, Table: table, Key: key, Follow: true, Reverse: true}) {
		if err != nil {
			return nil, err
		}
		if total++; len(life) < rowVersions {
			life = append(life, c)
		}
	}
	if total == 0 && from == first {
		return nil, notFound{fmt.Errorf("the log has no row of table %s with the key %s", quoted(shorten(table, 100)), keyText(key))}
	}
	b := rowBody{Table: pieces(shorten(table, 200)), Key: pieces(keyText(key)), Total: total, Log: v.link("log", "table", table), From: from}
	if from > first {
		b.All = v.link("row", "table", table, "key", text, "all", "1")
	}
	for _, c := range life {
		b.Versions = append(b.Versions, rowVersion{
			Change: v.viewChange(c, detailed), Time: c.Time, Tx: c.Tx, TxLink: v.link("tx/" + fmt.Sprint(c.Tx)),
			Past: v.link("table", "at", fmt.Sprint(c.Sequence), "table", table),
		})
	}
	words := append([]string{"--table", table}, keyFlags(key)...)
	return &view{
		template: "row", Title: "Row", Tab: "Log", Body: b,
		Commands: []command{
			v.command("Print the life of this row", "history", words...),
			v.fileCommand("Show what undoing one of its transactions would do", "undo", "--tx", "N", "--dry-run"),
		},
	}, nil
}
