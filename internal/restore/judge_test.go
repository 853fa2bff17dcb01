package restore

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/driftdb/driftdb-go/internal/change"
	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// lazy makes an index i of the table that does not have its rows.
func lazy(table string) []string {
	return []string{
		"CREATE INDEX i" + table + " ON " + table + "(a)",
		"PRAGMA writable_schema=ON",
		"UPDATE sqlite_schema SET sql = 'CREATE INDEX i" + table + " ON " + table + "(d)' WHERE name = 'i" + table + "'",
		"PRAGMA writable_schema=RESET",
	}
}

// TestJudge: a fault of an index is the source's if the snapshot has it, whatever the
// manifest says, and damage if it came about on the way.
func TestJudge(t *testing.T) {
	const made = createT + "; CREATE TABLE u(id INTEGER PRIMARY KEY, a, d DEFAULT 7); INSERT INTO t VALUES(1, 1, 0); INSERT INTO u VALUES(1, 1, 0); "
	replayed := func(h *history) {
		h.replayed = func(path string) {
			c, err := new(sqlite.Driver).Open(path, sqlite.Options{KeepJournal: true, MustExist: true})
			h.must(err)
			h.must(c.Exec(strings.Join(lazy("t"), "; ")))
			h.must(c.Close())
		}
	}
	for name, c := range map[string]struct {
		snapshot string
		told     map[string][]string
		replay   func(h *history)
		faults   string // "": it is damage
	}{
		"of the snapshot":                  {made + strings.Join(lazy("t"), "; "), nil, func(*history) {}, `table "t": row missing from index it`},
		"of the snapshot, and told":        {made + strings.Join(lazy("t"), "; "), map[string][]string{"t": {"row missing from index it"}}, func(*history) {}, `table "t": row missing from index it`},
		"of the snapshot, after a change":  {made + strings.Join(lazy("t"), "; "), nil, func(h *history) { h.batch([]change.Entry{insert(2, 2)}) }, `table "t": row missing from index it`},
		"of the log":                       {made, nil, replayed, ""},
		"of the log, and another was told": {made + strings.Join(lazy("u"), "; "), map[string][]string{"u": {"row missing from index iu"}}, replayed, ""},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHistory(t)
			h.batch([]change.Entry{statement(createT), insert(1, 1)})
			h.snapshot(c.snapshot, maps.Clone(h.set))
			h.m.Snapshots[0].Faults = c.told
			c.replay(h)
			_, res, err := h.restore(0)
			if c.faults == "" {
				if !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), `table "t": row missing from index it`) || strings.Contains(err.Error(), `"u"`) {
					t.Errorf("%v", err)
				}
			} else if err != nil || !slices.Contains(res.Faults, c.faults) {
				t.Errorf("faults %q, %v", res.Faults, err)
			}
		})
	}
}
