//go:build !race

package model_test

import (
	"context"
	"fmt"
	"path/filepath"
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

// TestDiffModel: the differences of any two points, forward and back, applied to the state
// at one of them, give the state at the other, to the last bit.
func TestDiffModel(t *testing.T) {
	dir := systemtest.MemoryDir(t)
	runs, log, compared, stops := 0, 0, 0, 0
	rapid.Check(t, func(rt *rapid.T) {
		runs++
		m := newModel(rt, filepath.Join(dir, fmt.Sprint(runs)))
		defer m.remove()
		m.begin()
		m.keep()
		rt.Repeat(map[string]func(*rapid.T){
			"step": func(*rapid.T) { m.step() },
			"keep": func(*rapid.T) { m.keep() },
		})
		m.flush()
		m.keep()
		for range min(3, len(m.points)) {
			if from, to := pick(m.T, m.points...), pick(m.T, m.points...); m.differs(from, to) {
				compared++
			} else {
				log++
			}
		}
		stops += m.scriptStops
		m.close()
		m.db = nil
	})
	t.Logf("%d differences from the log, %d from restored copies; %d scripts stopped", log, compared, stops)
}

// differs applies the differences of two points, and reports whether they came from restored copies.
func (m *model) differs(from, to point) (compared bool) {
	m.newPath()
	ctx := context.Background()
	_, err := driftdb.Restore(ctx, driftdb.RestoreConfig{
		Name: m.cfg.Name, Path: m.cfg.Path, Store: m.cfg.Store, EncryptionKeys: m.cfg.EncryptionKeys, Sequence: from.sequence,
	})
	if err != nil && strings.Contains(err.Error(), "choose an earlier or a later point") {
		return false
	}
	m.must(fmt.Sprint("Restore to ", from.sequence), err)
	ring, err := seal.ParseKeys(m.cfg.EncryptionKeys)
	m.must("ParseKeys", err)
	b, err := backup.Open(ctx, backup.Config{Name: m.cfg.Name, Store: m.cfg.Store, Keys: ring})
	m.must("backup.Open", err)
	var changes []history.Change
	edited := false
	for c, err := range backup.Diff(ctx, b, restore.Target{Sequence: from.sequence}, restore.Target{Sequence: to.sequence}, false, copied) {
		if err != nil && strings.Contains(err.Error(), "choose an earlier or a later point") {
			return false
		}
		m.must(fmt.Sprintf("Diff %d %d", from.sequence, to.sequence), err)
		m.Logf("\t%s", describe(c))
		if c.Entry.Op == change.Barrier {
			compared, edited = true, strings.Contains(c.Entry.Reason, "sqlite_sequence was edited")
		} else {
			changes = append(changes, c)
		}
	}
	if m.one(3) {
		if !m.runScript(ctx, b, from, to) {
			return compared
		}
	} else {
		m.must("apply", applyDiff(m.cfg.Path, changes))
	}
	got, err := dbtest.Dump(m.cfg.Path)
	m.must("Dump", err)
	m.must(fmt.Sprintf("compare with %d", to.sequence), dbtest.CompareDumps(withoutCounters(to.dump, edited), withoutCounters(got, edited)))
	return compared
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
			m.scriptStops++
			m.Logf("%s: %v", text, err)
			return false
		} else if err != nil {
			m.Fatalf("%s: %v", text, err)
		}
	}
	return true
}

// withoutCounters is a dump without the table of AUTOINCREMENT counters, which SQLite does
// not let go of once there is one, and, if it was edited to hold what no counter is, without
// its rows.
func withoutCounters(dump string, edited bool) string {
	var b strings.Builder
	for line := range strings.Lines(dump) {
		if !strings.HasPrefix(line, "table sqlite_sequence ") && !(edited && strings.HasPrefix(line, "sqlite_sequence|")) {
			b.WriteString(line)
		}
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
