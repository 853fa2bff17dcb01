package resolve

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/driftdb/driftdb-go/internal/apply"
	"github.com/driftdb/driftdb-go/internal/capture"
	"github.com/driftdb/driftdb-go/internal/change"
	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// writer writes to the copy of the bucket's state that is to become the file. Everything
// it does is captured, in one transaction. Triggers and foreign keys are off: what they
// did is among the changes.
type writer struct {
	*capture.Conn
	finders map[*layout]func(*row) (*row, error)
}

// run runs a statement that changes rows.
func (w *writer) run(query string, values ...change.Value) error {
	w.Before()
	defer w.After()
	st, err := w.Cached(query)
	if err != nil {
		return err
	}
	defer st.Release()
	for i, v := range values {
		apply.Bind(st, i+1, v)
	}
	return st.Run()
}

// define runs a statement that changes the schema.
func (w *writer) define(ctx context.Context, query string) error {
	_, err := w.ExecContext(ctx, query, nil)
	return err
}

// put makes the row with r's identity equal to want, or deletes it if want is nil.
func (w *writer) put(l *layout, r, want *row) error {
	if w.finders[l] == nil {
		find, err := l.finder(w.Conn.Conn)
		if err != nil {
			return err
		}
		w.finders[l] = find
	}
	there, err := w.finders[l](r)
	if err != nil || there.same(want) {
		return err
	}
	table := "main." + sqlite.Quote(l.Name)
	switch {
	case there == nil:
		return w.insert(l, want, !l.keyed(want))
	case want == nil:
		where, values := l.condition(there, 1)
		return w.run("DELETE FROM "+table+" WHERE "+where, values...)
	}
	var set []string
	var values []change.Value
	for i, v := range want.values {
		if !v.Same(&there.values[i]) {
			values = append(values, v)
			set = append(set, l.columns[i]+" = ?"+strconv.Itoa(len(values)))
		}
	}
	where, key := l.condition(there, len(values)+1)
	return w.run("UPDATE "+table+" SET "+strings.Join(set, ", ")+" WHERE "+where, append(values, key...)...)
}

// add inserts a row that is identified only by its rowid, and returns the rowid. If the
// rowid is taken, the row gets another one.
func (w *writer) add(l *layout, r *row) (int64, error) {
	taken, err := l.one(w.Conn.Conn, "SELECT "+l.RowID+", "+strings.Join(l.columns, ", ")+" FROM main."+sqlite.Quote(l.Name)+" WHERE "+l.RowID+" = ?1",
		[]change.Value{{Kind: change.Integer, Int: r.id}})
	if err != nil {
		return 0, err
	}
	if err := w.insert(l, r, taken == nil); err != nil {
		return 0, err
	}
	if taken == nil {
		return r.id, nil
	}
	return w.Int("SELECT last_insert_rowid()")
}

func (w *writer) insert(l *layout, r *row, rowid bool) error {
	columns, values := l.columns, r.values
	if rowid && l.HasRowID && !l.IsKey {
		columns = append([]string{l.RowID}, columns...)
		values = append([]change.Value{{Kind: change.Integer, Int: r.id}}, values...)
	}
	marks := strings.TrimSuffix(strings.Repeat("?, ", len(columns)), ", ")
	return w.run("INSERT INTO main."+sqlite.Quote(l.Name)+"("+strings.Join(columns, ", ")+") VALUES("+marks+")", values...)
}

// counters raises the AUTOINCREMENT counters to the file's, so that no number is assigned
// twice.
func (m *merger) counters() error {
	for _, table := range sorted(m.layouts) {
		if !m.layouts[table].Counted {
			continue
		}
		mine, err := counter(m.ours.c, table)
		if err != nil {
			return err
		}
		now, err := counter(m.w.Conn.Conn, table)
		if err != nil {
			return err
		}
		if mine <= now {
			continue
		}
		query := "UPDATE main.sqlite_sequence SET seq = ?1 WHERE name = ?2"
		if now < 0 {
			query = "INSERT INTO main.sqlite_sequence(seq, name) VALUES(?1, ?2)"
		}
		if err := m.w.run(query, change.Value{Kind: change.Integer, Int: mine}, change.Value{Kind: change.Text, Bytes: []byte(table)}); err != nil {
			return err
		}
	}
	return nil
}

// counter returns the value of a counter; -1 if there is none.
func counter(c *sqlite.Conn, table string) (n int64, err error) {
	n = -1
	err = c.About("SELECT seq FROM main.sqlite_sequence WHERE name = ?1", table, func(st *sqlite.Stmt) { n = st.Int64(0) })
	return n, err
}

func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
