//go:build !race

package model_test

import (
	"context"
	"fmt"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/backup"
	"github.com/driftdb/driftdb-go/internal/change"
	"github.com/driftdb/driftdb-go/internal/dbtest"
	"github.com/driftdb/driftdb-go/internal/history"
	"github.com/driftdb/driftdb-go/internal/restore"
	"github.com/driftdb/driftdb-go/internal/seal"
	"github.com/driftdb/driftdb-go/internal/sqlite"
	"github.com/driftdb/driftdb-go/internal/systemtest"
	lib "modernc.org/sqlite/lib"
	"pgregory.net/rapid"
)

// TestDiff: the net differences of any two points, forward and back, applied to the state at
// one of them, give the state at the other, to the last bit. Few rows change often here, and
// most of all their keys; TestModel looks at the differences of any schema and statements.
func TestDiff(t *testing.T) {
	dir := systemtest.MemoryDir(t)
	runs, pairs, moves, stops := 0, 0, 0, 0
	rapid.Check(t, func(rt *rapid.T) {
		if runs++; testing.Short() && runs > 30 {
			return
		}
		m := newModel(rt, filepath.Join(dir, fmt.Sprint(runs)))
		defer m.remove()
		m.newPath()
		m.open()
		var tables []string
		composite := false
		for range 2 {
			t := fmt.Sprint("t", len(tables))
			tables = append(tables, t)
			kind := pick(rt, keyedTables...)
			composite = composite || strings.Contains(kind, "UNIQUE(u, v)")
			m.must("table", m.run(m.writer(), "CREATE TABLE "+t+kind))
			for k := range 4 {
				m.must("row", m.run(m.writer(), "INSERT INTO "+t+"(k, u, v, w) VALUES(?, ?, 1, 2)", int64(k), fmt.Sprint(k)))
			}
		}
		m.keep()
		rt.Repeat(map[string]func(*rapid.T){"transaction": func(*rapid.T) {
			m.moveRows(tables)
			if m.one(3) {
				m.keep()
			}
		}})
		m.flush()
		for range 2 {
			m.differs(pick(m.T, m.points...), pick(m.T, m.points...))
		}
		if m.diffs.stops > 0 && !composite {
			m.Fatalf("a script stopped")
		}
		pairs, moves, stops = pairs+2, moves+m.diffs.moves, stops+m.diffs.stops
		m.close()
		m.db = nil
	})
	t.Logf("%d differences with %d moves of rows; %d scripts stopped", pairs, moves, stops)
	if pairs >= 100 && moves < pairs/10 {
		t.Error("too few rows moved")
	}
}

// keyedTables have every kind of identity, and unique values.
var keyedTables = []string{
	"(k INTEGER PRIMARY KEY, u UNIQUE, v, w)",
	"(k TEXT PRIMARY KEY, u UNIQUE, v, w)",
	"(k, u, v, w, PRIMARY KEY(k, u)) WITHOUT ROWID",
	"(k, u, v, w)",
	"(k INTEGER PRIMARY KEY AUTOINCREMENT, u, v, w, g AS (u || v) STORED, UNIQUE(u, v))",
	"(k COLLATE NOCASE PRIMARY KEY, u UNIQUE ON CONFLICT REPLACE, v, w) WITHOUT ROWID",
	"(k INT NOT NULL, u TEXT UNIQUE, v ANY, w ANY, PRIMARY KEY(k)) STRICT",
}

// moveRows is a transaction that changes rows, and the definition of a table now and then.
func (m *model) moveRows(tables []string) {
	err := m.db.Tx(context.Background(), func(tx *driftdb.Tx) error {
		for range 1 + m.below(4) {
			t := pick(m.T, tables...)
			query, args := m.moveRow(t)
			_ = m.run(inTx{tx}, query, args...) // it may find a row in its way
		}
		return nil
	})
	m.note("db", "Tx", nil, err)
}

func (m *model) moveRow(t string) (string, []any) {
	small := func() any {
		return pick[any](m.T, int64(m.below(6)), int64(m.below(6)), int64(m.below(6)), "a", "A", "b", nil, 0.5)
	}
	switch m.below(16) {
	case 0, 1, 2:
		return "INSERT OR REPLACE INTO " + t + "(k, u, v, w) VALUES(?, ?, ?, ?)", []any{small(), small(), small(), small()}
	case 3, 4:
		return "INSERT INTO " + t + "(k, u, v) VALUES(?, ?, ?)", []any{small(), small(), small()}
	case 5:
		return "UPDATE " + t + " SET k = ? WHERE k = ?", []any{small(), small()}
	case 6:
		return "UPDATE " + t + " SET u = ?, v = ? WHERE k = ?", []any{small(), small(), small()}
	case 7: // two rows exchange their keys
		return "UPDATE " + t + " SET k = 100 WHERE k = 1; UPDATE " + t + " SET k = 1 WHERE k = 2; UPDATE " + t + " SET k = 2 WHERE k = 100", nil
	case 8: // or their unique values
		return "UPDATE " + t + " SET u = 100 WHERE u = '1'; UPDATE " + t + " SET u = '1' WHERE u = '2'; UPDATE " + t + " SET u = '2' WHERE u = 100", nil
	case 9: // a chain
		return "UPDATE " + t + " SET k = k + 100; UPDATE " + t + " SET k = k - 99", nil
	case 10:
		return "DELETE FROM " + t + " WHERE k = ?", []any{small()}
	case 11:
		return "UPDATE " + t + " SET w = w || ?", []any{small()}
	case 12:
		if t == "t2" || t == "t5" {
			return "DELETE FROM " + t + " WHERE w = ?", []any{small()}
		}
		return "UPDATE " + t + " SET rowid = ? WHERE rowid = ?", []any{int64(m.below(8)), int64(m.below(8))}
	case 13:
		return "ALTER TABLE " + t + m.word(" ADD COLUMN x DEFAULT 5", " ADD COLUMN y TEXT NOT NULL DEFAULT 'y'", " RENAME COLUMN v TO v1", " RENAME COLUMN v1 TO v", " DROP COLUMN w", " ADD COLUMN w", " RENAME TO t7"), nil
	case 14:
		if m.one(2) {
			break
		}
		return m.word("ALTER TABLE t7 RENAME TO "+t, "DROP TABLE "+t, "CREATE TABLE "+t+"(k PRIMARY KEY, u, v, w)", "CREATE UNIQUE INDEX i ON "+t+"(u)", "DROP INDEX i", "CREATE INDEX j ON "+t+"(v, w)"), nil
	}
	return "UPDATE " + t + " SET x = ?, v = 7 WHERE k > ?", []any{small(), small()}
}

// differs applies the differences of two points.
func (m *model) differs(from, to point) {
	m.newPath()
	ctx := context.Background()
	_, err := driftdb.Restore(ctx, driftdb.RestoreConfig{
		Name: m.cfg.Name, Path: m.cfg.Path, Store: m.cfg.Store, EncryptionKeys: m.cfg.EncryptionKeys, Sequence: from.sequence,
	})
	if err != nil && strings.Contains(err.Error(), "choose an earlier or a later point") {
		return
	}
	m.must(fmt.Sprint("Restore to ", from.sequence), err)
	ring, err := seal.ParseKeys(m.cfg.EncryptionKeys)
	m.must("ParseKeys", err)
	b, err := backup.Open(ctx, backup.Config{Name: m.cfg.Name, Store: m.cfg.Store, Keys: ring})
	m.must("backup.Open", err)
	var changes []history.Change
	edited := oddCounters(from.dump) || oddCounters(to.dump)
	for c, err := range backup.Diff(ctx, b, restore.Target{Sequence: from.sequence}, restore.Target{Sequence: to.sequence}, false, copied) {
		if err != nil && strings.Contains(err.Error(), "choose an earlier or a later point") {
			return
		}
		m.must(fmt.Sprintf("Diff %d %d", from.sequence, to.sequence), err)
		m.Logf("\t%s", describe(c))
		if c.Entry.Moved() {
			m.diffs.moves++
		}
		if c.Entry.Op == change.Barrier {
			edited = edited || strings.Contains(c.Entry.Reason, "sqlite_sequence was edited")
		} else {
			changes = append(changes, c)
		}
	}
	if m.one(3) && !strings.Contains(from.dump+to.dump, "_rowid_ INT") { // a column that hides the rowid: see Backup.DiffSQL
		if !m.runScript(ctx, b, from, to) {
			return
		}
	} else {
		m.must("apply", applyDiff(m.cfg.Path, changes))
	}
	got, err := dbtest.Dump(m.cfg.Path)
	m.must("Dump", err)
	m.must(fmt.Sprintf("compare with %d", to.sequence), dbtest.CompareDumps(alike(to.dump, edited), alike(got, edited)))
}

// runScript runs the differences as the sqlite3 shell would. It reports false if rows exchange
// values in a way that a script cannot know of: see Backup.DiffSQL.
func (m *model) runScript(ctx context.Context, b *backup.Backup, from, to point) bool {
	c, err := sqlite.Open(m.cfg.Path, sqlite.Options{MustExist: true, KeepJournal: true, Synchronous: sqlite.SyncOff})
	m.must("open", err)
	defer c.Close()
	for op, on := range map[int32]bool{
		lib.SQLITE_DBCONFIG_ENABLE_TRIGGER: false, lib.SQLITE_DBCONFIG_DEFENSIVE: false,
		lib.SQLITE_DBCONFIG_DQS_DDL: true, lib.SQLITE_DBCONFIG_DQS_DML: true,
	} {
		m.must("configure", c.Configure(op, on))
	}
	for text, err := range backup.DiffSQL(ctx, b, restore.Target{Sequence: from.sequence}, restore.Target{Sequence: to.sequence}, "") {
		m.must("DiffSQL", err)
		var sql strings.Builder
		for line := range strings.Lines(text) {
			if !strings.HasPrefix(line, ".") { // a command of the shell's
				sql.WriteString(line)
			}
		}
		if err := c.Exec(sql.String()); err != nil && sqlite.Code(err)&0xff == lib.SQLITE_CONSTRAINT {
			m.diffs.stops++
			m.Logf("%s: %v", text, err)
			return false
		} else if err != nil {
			m.Fatalf("%s: %v", text, err)
		}
	}
	return true
}

// oddCounters reports whether sqlite_sequence has been edited, so that it has rows that are no
// counters: entries know one row of a name, with a text and an integer.
func oddCounters(dump string) bool {
	names := map[string]bool{}
	for line := range strings.Lines(dump) {
		if !strings.HasPrefix(line, "sqlite_sequence|") {
			continue
		}
		counter := counterLine.FindStringSubmatch(line)
		if counter == nil || names[counter[1]] {
			return true
		}
		names[counter[1]] = true
	}
	return false
}

var counterLine = regexp.MustCompile(`^sqlite_sequence\|"([^"]*)"\|-?[0-9]+\n$`)

// alike is a dump without what differences cannot bring about: SQLite does not let go of the
// table of AUTOINCREMENT counters once there is one. Nor, if it was edited to hold what no
// counter is, of these rows. And the tables of a renamed virtual table have other quotes.
func alike(dump string, edited bool) string {
	var b strings.Builder
	for line := range strings.Lines(dump) {
		switch {
		case strings.HasPrefix(line, "table sqlite_sequence "), edited && strings.HasPrefix(line, "sqlite_sequence|"):
			continue
		case strings.HasPrefix(line, "table "):
			line = strings.NewReplacer("CREATE TABLE '", `CREATE TABLE "`, "'(", `"(`).Replace(line)
		}
		b.WriteString(line)
	}
	return b.String()
}

func copied(c history.Change) history.Change {
	e := *c.Entry
	e.Key, e.Before, e.After = slices.Clone(e.Key), slices.Clone(e.Before), slices.Clone(e.After)
	c.Entry = &e
	return c
}

func describe(c history.Change) string {
	e := c.Entry
	if e.Op == change.Schema || e.Op == change.Barrier {
		return e.Op.String() + " " + e.SQL + e.Reason
	}
	return fmt.Sprintf("%d %s %s %v %d->%d %v: %v -> %v", c.Sequence, e.Op, e.Table, e.HasRowID, e.RowID, e.NewRowID, change.Map(e.Key), change.Map(e.Before), change.Map(e.After))
}
