package inspect

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/driftdb/driftdb-go"
)

// logRows is how many changes a page has.
const logRows = 100

// logBody is the page of the log.
type logBody struct {
	Form         logForm
	Operations   []driftdb.Operation
	Transactions []txView
	Shown        int
	Part         part
	Newer, Older string // links
	Reset        string
}

// logForm is which changes a visitor wants, as they typed it.
type logForm struct {
	Table, Key, Op, Since, Until string
	To                           int64 // the newest change of the page; 0: the last one
	From                         int64 // if it is set, the page has the oldest changes from here on
}

func (v *visit) logForm() (f logForm, err error) {
	q := v.URL.Query()
	f = logForm{Table: q.Get("table"), Key: strings.TrimSpace(q.Get("key")), Op: q.Get("op"), Since: strings.TrimSpace(q.Get("since")), Until: strings.TrimSpace(q.Get("until"))}
	if f.To, err = number(q.Get("to"), "to"); err == nil {
		f.From, err = number(q.Get("from"), "from")
	}
	switch {
	case err != nil:
		return f, err
	case f.Key != "" && f.Table == "":
		return f, bad("a key needs a table")
	case f.Op != "" && !slices.Contains(operations, driftdb.Operation(f.Op)):
		return f, bad("%s is no operation", quoted(shorten(f.Op, 50)))
	case f.From != 0 && f.To != 0 && f.To < f.From:
		return f, bad("the changes %d to %d end before they begin", f.From, f.To)
	}
	return f, nil
}

var operations = []driftdb.Operation{
	driftdb.OperationInsert, driftdb.OperationUpdate, driftdb.OperationDelete, driftdb.OperationSchema, driftdb.OperationBarrier,
}

// number reads the number of a change; 0 if there is none.
func number(text, what string) (int64, error) {
	if text = strings.TrimSpace(text); text == "" {
		return 0, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n < 1 {
		return 0, bad("%s is %s, and should be the number of a change, 1 or more", what, quoted(shorten(text, 50)))
	}
	return n, nil
}

// parseTime reads a time in UTC; zero if there is none.
func parseTime(text, what string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05", "2006-01-02T15:04", "2006-01-02 15:04:05", "2006-01-02 15:04", time.DateOnly} {
		if t, err := time.Parse(layout, text); err == nil {
			return t, nil
		}
	}
	return time.Time{}, bad("%s is %s, and should be a time such as 2026-11-29 14:00, in UTC", what, quoted(shorten(text, 50)))
}

// logPage shows the log, newest first, a page at a time.
func (h *Handler) logPage(v *visit) (*view, error) {
	f, err := v.logForm()
	if err != nil {
		return nil, err
	}
	s := search{visit: v, op: driftdb.Operation(f.Op), upward: f.From != 0 && f.To == 0, want: logRows}
	if err := s.set(f); err != nil {
		return nil, err
	}
	found, err := s.run()
	if err != nil {
		return nil, err
	}
	b := logBody{Form: f, Operations: operations, Shown: len(found), Transactions: v.transactions(found, brief), Part: s.part, Reset: v.link("log")}
	b.Newer, b.Older = s.turn(v, f, found)
	return &view{template: "log", Title: "Log", Tab: "Log", Commands: f.commands(v, s.query.Key), Body: b}, nil
}

// turn returns the links to the pages beside the one with what was found, newest first.
func (s *search) turn(v *visit, f logForm, found []driftdb.Change) (newer, older string) {
	page := func(from, to int64) string {
		parameters := []string{"table", f.Table, "key", f.Key, "op", f.Op, "since", f.Since, "until", f.Until}
		if from > 0 {
			return v.link("log", append(parameters, "from", fmt.Sprint(from))...)
		}
		if to > 0 {
			return v.link("log", append(parameters, "to", fmt.Sprint(to))...)
		}
		return v.link("log", parameters...)
	}
	top, bottom := s.part.To, s.part.From
	if n := len(found); n > 0 && !s.part.Searched {
		top, bottom = found[0].Sequence, found[n-1].Sequence
	}
	if (f.To != 0 || f.From != 0) && top > 0 && !(s.upward && len(found) < s.want && s.part.Done) {
		newer = page(top+1, 0)
	}
	if bottom > max(1, s.part.First) && (s.upward || len(found) == s.want || !s.part.Done) {
		older = page(0, bottom-1)
	}
	return newer, older
}

// commands are the commands that print the same.
func (f logForm) commands(v *visit, key map[string]any) []command {
	var words []string
	add := func(flag, value string) {
		if value != "" {
			words = append(words, flag, value)
		}
	}
	add("--table", f.Table)
	words = append(words, keyFlags(key)...)
	for _, limit := range [][2]string{{"--since", f.Since}, {"--until", f.Until}} {
		if t, err := parseTime(limit[1], limit[0]); err == nil && !t.IsZero() {
			add(limit[0], t.UTC().Format(time.RFC3339))
		}
	}
	if f.From != 0 {
		add("--from", fmt.Sprint(f.From))
	}
	if f.To != 0 {
		add("--to", fmt.Sprint(f.To))
	}
	out := []command{v.command("Print these changes", "log", append(words, "--tail", fmt.Sprint(logRows), "--reverse")...)}
	if key != nil {
		out = append(out, v.command("Print the life of this row", "history", append([]string{"--table", f.Table}, keyFlags(key)...)...))
	}
	return append(out, v.command("Go on as changes arrive", "log", append(words, "--follow")...))
}
