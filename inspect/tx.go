package inspect

import (
	"fmt"
	"net/http"

	"github.com/driftdb/driftdb-go"
)

// txRows is how many changes of a transaction a page has.
const txRows = 100

// txBody is the page of a transaction.
type txBody struct {
	Tx             txView
	From, To       int64 // the changes that the page has
	Before, After  string
	Next, Previous string // links to other transactions
	Past, Differ   string
	More           string // link to the changes that follow
}

// txPage shows a transaction, by the number of any of its changes.
func (h *Handler) txPage(v *visit) (*view, error) {
	n, err := number(v.PathValue("number"), "the transaction")
	if err != nil {
		return nil, err
	}
	from, err := number(v.URL.Query().Get("from"), "from")
	if err != nil {
		return nil, err
	}
	at, err := v.one(driftdb.ChangeQuery{From: n, To: n})
	if err != nil {
		return nil, err
	}
	if at == nil {
		return nil, notFound{fmt.Errorf("the log has no change %d yet", n)}
	}
	if at.Tx != n {
		return &view{moved: v.link("tx/" + fmt.Sprint(at.Tx))}, nil
	}
	var changes []driftdb.Change
	more := false
	for c, err := range v.changes(v.ctx, driftdb.ChangeQuery{From: max(from, n), Tx: n}) {
		if err != nil {
			return nil, err
		}
		if len(changes) == txRows {
			more = true
			break
		}
		changes = append(changes, c)
	}
	if len(changes) == 0 {
		return nil, notFound{fmt.Errorf("transaction %d has no change %d", n, from)}
	}
	first, last := changes[0].Sequence, changes[len(changes)-1].Sequence
	b := txBody{
		Tx: v.transactions(changes, detailed)[0], From: first, To: last,
		Past: v.link("tables", "at", fmt.Sprint(max(1, n-1))), Next: v.link("tx/" + fmt.Sprint(last+1)),
		Differ: v.link("diff", "from", fmt.Sprint(max(1, n-1)), "to", fmt.Sprint(last)),
	}
	if more {
		b.More, b.Next = v.link("tx/"+fmt.Sprint(n), "from", fmt.Sprint(last+1)), ""
	}
	if n > 1 {
		b.Previous = v.link("tx/" + fmt.Sprint(n-1))
	}
	commands := []command{
		v.command("Print this transaction", "log", "--tx", fmt.Sprint(n)),
		v.command("Print the statements that make it again", "log", "--tx", fmt.Sprint(n), "--sql"),
		v.fileCommand("Show what undoing it would do", "undo", "--tx", fmt.Sprint(n), "--dry-run"),
	}
	if n > 1 {
		commands = append(commands, v.command("Restore the database as it was before it", "restore", "--at", fmt.Sprint(n-1), "--out", "FILE"))
	}
	return &view{template: "tx", Title: fmt.Sprintf("Transaction %d", n), Tab: "Log", Commands: commands, Body: b}, nil
}

// changeValue returns a value of a change, or its statement.
func (h *Handler) changeValue(v *visit) (any, error) {
	q := v.URL.Query()
	n, err := number(q.Get("change"), "change")
	if err == nil && n == 0 {
		err = bad("change is missing")
	}
	if err != nil {
		return nil, err
	}
	c, err := v.one(driftdb.ChangeQuery{From: n, To: n})
	if err != nil {
		return nil, err
	}
	if c == nil {
		return nil, notFound{fmt.Errorf("the log has no change %d", n)}
	}
	column := q.Get("column")
	row := c.After
	switch q.Get("side") {
	case "sql":
		return c.SQL + c.Reason, nil
	case "before":
		row = c.Before
	}
	value, ok := row[column]
	if !ok {
		return nil, notFound{fmt.Errorf("change %d has no value of a column %s", n, quoted(shorten(column, 100)))}
	}
	return value, nil
}

// serveValue sends a value as it is: a text as a text, a blob as a file. The browser runs
// nothing of it, whatever it looks like.
func serveValue(w http.ResponseWriter, value any) {
	head := w.Header()
	head.Set("Content-Security-Policy", "default-src 'none'; sandbox; frame-ancestors 'none'")
	var body []byte
	switch value := value.(type) {
	case []byte:
		body = value
		head.Set("Content-Type", "application/octet-stream")
		head.Set("Content-Disposition", `attachment; filename="value.bin"`)
	case string:
		body = []byte(value)
		head.Set("Content-Type", "text/plain; charset=utf-8")
	default:
		_, text, _ := plain(value, maxKey)
		body = []byte(text)
		head.Set("Content-Type", "text/plain; charset=utf-8")
	}
	head.Set("Content-Length", fmt.Sprint(len(body)))
	_, _ = w.Write(body) // an error is the visitor's, who has gone
}
