package undo_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/driftdb/driftdb-go"
	. "github.com/driftdb/driftdb-go/internal/systemtest"
	"github.com/driftdb/driftdb-go/internal/systemtest/subprocess"
)

// measured is what an undo in a process of its own took.
type measured struct {
	Took     time.Duration
	Resident int64 // bytes at the peak
	Undone   int
	Sequence int64
	Unlogged string
}

// undoRun undoes in a process of its own: the database at args[0], the changes args[1] to
// args[2]. It writes what it has measured to args[3].
var undoRun = subprocess.Register("undoRun", func(t testing.TB, args []string) {
	ctx := context.Background()
	db, err := driftdb.Open(ctx, driftdb.Config{Name: "app", Path: args[0]})
	Check(t, err)
	number := func(s string) int64 { return Must(strconv.ParseInt(s, 10, 64)) }
	start := time.Now()
	r, err := db.Undo(ctx, driftdb.Undo{From: number(args[1]), To: number(args[2])})
	Check(t, err)
	m := measured{Took: time.Since(start), Undone: r.Undone, Sequence: r.Sequence, Unlogged: r.Unlogged}
	status, err := os.ReadFile("/proc/self/status")
	Check(t, err)
	_, peak, _ := strings.Cut(string(status), "VmHWM:")
	m.Resident = number(strings.Fields(peak)[0]) << 10
	Check(t, db.Close())
	Check(t, os.WriteFile(args[3], Must(json.Marshal(m)), 0o600))
})

// TestUndoMillion undoes the changes of many rows, and undoes that, in bounded memory.
func TestUndoMillion(t *testing.T) {
	rows := Setting(t, "DRIFTDB_UNDO_ROWS", 0)
	if rows == 0 {
		t.Skip("set DRIFTDB_UNDO_ROWS, or: make undo")
	}
	if _, err := os.Stat("/proc/self/status"); err != nil {
		t.Skip(err)
	}
	cfg := Config(t)
	cfg.Store = nil
	db := Open(t, cfg)
	tx(t, db, "CREATE TABLE packages(id INTEGER PRIMARY KEY, name TEXT, section TEXT, size INTEGER)")
	const step = 20_000
	for i := 0; i < rows; i += step {
		tx(t, db, fmt.Sprintf("INSERT INTO packages WITH RECURSIVE n(i) AS (SELECT %d UNION ALL SELECT i + 1 FROM n WHERE i + 1 < %d) SELECT i, 'package ' || i, 's' || (i %% 40), i * 7 FROM n", i, min(i+step, rows)))
	}
	sum := "SELECT count(DISTINCT section) FROM packages"
	before := db.Sequence() + 1
	for i := 0; i < rows; i += step {
		tx(t, db, fmt.Sprintf("UPDATE packages SET section = '' WHERE id >= %d AND id < %d", i, i+step))
	}
	from, to := before, db.Sequence()
	Check(t, db.Close())
	for i, sections := range []int64{40, 1} {
		out := filepath.Join(t.TempDir(), "out.json")
		cmd := undoRun.Command(t.Context(), cfg.Path, fmt.Sprint(from), fmt.Sprint(to), out)
		if text, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, text)
		}
		var m measured
		Check(t, json.Unmarshal(Must(os.ReadFile(out)), &m))
		t.Logf("undo %d of %d rows: %s, of a processor %s, %d MiB resident at the peak; %s",
			i, m.Undone, m.Took.Round(time.Millisecond), (cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime()).Round(time.Millisecond), m.Resident>>20, m.Unlogged)
		if m.Undone != rows || m.Resident > 200<<20 {
			t.Errorf("%+v", m)
		}
		db = Open(t, cfg)
		if got := Must(driftdb.Select[int64](t.Context(), db, sum))[0]; got != sections {
			t.Errorf("%d sections, not %d", got, sections)
		}
		Check(t, db.Close())
		from, to = m.Sequence, m.Sequence
		if m.Unlogged != "" {
			return
		}
	}
}
