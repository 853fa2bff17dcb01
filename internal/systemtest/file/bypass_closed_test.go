package file_test

import (
	"errors"
	"fmt"
	"os"
	"testing"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/systemtest"
	"github.com/driftdb/driftdb-go/objstore"
)

// TestBypassWhileClosed: whatever happened to the file while we had it closed,
// cleanly or not, is noticed if it wrote, and is not if it did not.
func TestBypassWhileClosed(t *testing.T) {
	const made = "CREATE TABLE t(id INTEGER PRIMARY KEY AUTOINCREMENT, a UNIQUE);;INSERT INTO t(a) VALUES(1)"
	const many = made + ";;INSERT INTO t(a) WITH n(i) AS (SELECT 2 UNION ALL SELECT i+1 FROM n WHERE i<800) SELECT hex(randomblob(200)) FROM n"
	clean := func(t *testing.T, cfg driftdb.Config) {
		db, err := driftdb.Open(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		if n := db.Metrics().Barriers; n != 0 {
			t.Errorf("%d barriers at an open in between", n)
		}
		systemtest.Exec(t, db, "CREATE TABLE IF NOT EXISTS t(id INTEGER PRIMARY KEY, a)")
		systemtest.Exec(t, db, "INSERT INTO t(a) VALUES('clean')")
		if err := db.Close(); err != nil {
			t.Fatal(err)
		}
	}
	killed := func(script string) func(*testing.T, driftdb.Config) {
		return func(t *testing.T, cfg driftdb.Config) { child(t, "driftdb, killed", cfg.Path, script) }
	}
	plain := func(does, script string) func(*testing.T, driftdb.Config) {
		return func(t *testing.T, cfg driftdb.Config) { child(t, does, cfg.Path, script) }
	}
	cli := func(script string) func(*testing.T, driftdb.Config) {
		return func(t *testing.T, cfg driftdb.Config) {
			if !shell(t, cfg.Path, script) {
				t.Skip("no sqlite3 shell")
			}
		}
	}
	locked := func(t *testing.T, cfg driftdb.Config) {
		db, err := driftdb.Open(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		if _, err := driftdb.Open(t.Context(), cfg); !errors.Is(err, driftdb.ErrLocked) {
			t.Error(err)
		}
	}
	spoil := func(change func([]byte) []byte) func(*testing.T, driftdb.Config) {
		return func(t *testing.T, cfg driftdb.Config) {
			b, err := os.ReadFile(cfg.Path + "-lock")
			if err == nil {
				err = os.WriteFile(cfg.Path+"-lock", change(b), 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	lost := func(t *testing.T, cfg driftdb.Config) {
		for _, suffix := range []string{"", "-wal", "-shm"} {
			if err := os.Remove(cfg.Path + suffix); err != nil {
				t.Fatal(err)
			}
		}
	}
	wrongName := func(t *testing.T, cfg driftdb.Config) {
		cfg.Name = "other"
		if _, err := driftdb.Open(t.Context(), cfg); err == nil {
			t.Error("a wrong name was accepted")
		}
	}
	const write = "INSERT INTO t(a) VALUES('foreign')"
	type steps = []func(*testing.T, driftdb.Config)
	for name, test := range map[string]struct {
		steps steps
		want  int64
	}{
		"clean":                                      {steps{clean}, 0},
		"clean, several times":                       {steps{clean, clean, clean}, 0},
		"clean, foreign reader":                      {steps{clean, plain("plain", "SELECT * FROM t"), cli("SELECT * FROM t")}, 0},
		"clean, foreign writer":                      {steps{clean, plain("plain", write)}, 1},
		"clean, foreign writer, killed":              {steps{clean, plain("plain, killed", write)}, 1},
		"clean, the shell":                           {steps{clean, cli(write)}, 1},
		"clean, the shell changes the schema":        {steps{clean, cli("CREATE TABLE u(a)")}, 1},
		"clean, out of WAL mode and back":            {steps{clean, cli("PRAGMA journal_mode=DELETE; " + write + "; PRAGMA journal_mode=WAL")}, 1},
		"clean, locked, wrong name":                  {steps{clean, locked, wrongName, locked}, 0},
		"clean, marker is gone":                      {steps{clean, spoil(func(b []byte) []byte { return nil })}, 1},
		"clean, marker is cut":                       {steps{clean, spoil(func(b []byte) []byte { return b[:40] })}, 1},
		"clean, marker is damaged":                   {steps{clean, spoil(func(b []byte) []byte { b[40] ^= 1; return b })}, 1}, // where the WAL would matter
		"foreign writer, wrong name":                 {steps{clean, plain("plain", write), wrongName}, 1},
		"killed without a write":                     {steps{clean, killed("")}, 0},
		"killed without a write, then foreign":       {steps{clean, killed(""), plain("plain", write)}, 1},
		"killed after inserts":                       {steps{killed(made)}, 0},
		"killed after a large transaction":           {steps{killed(many)}, 0},
		"killed after a flush":                       {steps{killed(many + ";;FLUSH")}, 0},
		"killed after the WAL was cut":               {steps{killed(made + ";;PRAGMA wal_checkpoint(TRUNCATE);;MARKED")}, 0},
		"killed after the WAL was cut, then foreign": {steps{killed(made + ";;PRAGMA wal_checkpoint(TRUNCATE);;MARKED"), plain("plain", write)}, 1},
		"killed after a deletion":                    {steps{killed(many + ";;DELETE FROM t WHERE id % 2;;FLUSH;;DELETE FROM t")}, 0},
		"killed after only a counter":                {steps{killed(made + ";;INSERT OR IGNORE INTO t(a) VALUES(1)")}, 0},
		"killed after clean":                         {steps{clean, killed("INSERT INTO t(a) VALUES('k')")}, 0},
		"clean, pages move":                          {steps{plain("plain", "PRAGMA auto_vacuum=FULL;;CREATE TABLE t(id INTEGER PRIMARY KEY, a)"), clean, clean}, 0},
		"killed, pages move":                         {steps{plain("plain", "PRAGMA auto_vacuum=FULL;;CREATE TABLE t(id INTEGER PRIMARY KEY, a)"), killed("INSERT INTO t(a) VALUES(1)")}, 1},
		"killed after a restore":                     {steps{killed(made + ";;FLUSH"), lost, killed("")}, 0},
		"killed twice":                               {steps{killed(made), killed("INSERT INTO t(a) VALUES('k')"), killed("")}, 0},
		"killed, foreign writer killed":              {steps{killed(many), plain("plain, killed", "PRAGMA wal_autocheckpoint=0;;"+write)}, 1},
		"killed, foreign writer on a page of the log that was trimmed": {
			steps{killed(many + ";;FLUSH"), plain("plain, killed", "PRAGMA wal_autocheckpoint=0;;INSERT INTO t(a) VALUES(hex(zeroblob(100000)))")}, 1},
		"killed before it had noticed": {steps{killed(made + ";;PLAIN " + write)}, 1},
		"killed after it had noticed":  {steps{killed(made + ";;PLAIN " + write + ";;FLUSH")}, 0},
		"killed, foreign checkpoint":   {steps{killed(made), cli("SELECT * FROM t")}, 1}, // the WAL is gone, nobody can tell
		"killed, the shell":            {steps{killed(made), cli(write)}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := systemtest.Config(t)
			var err error
			if err := os.Mkdir(cfg.Path+"-bucket", 0o700); err != nil {
				t.Fatal(err)
			}
			if cfg.Store, err = objstore.Dir(cfg.Path + "-bucket"); err != nil {
				t.Fatal(err)
			}
			for _, step := range test.steps {
				step(t, cfg)
			}
			told := systemtest.Listen(&cfg)
			db := systemtest.Open(t, cfg) // compares at the end
			if n := db.Metrics().Barriers; n != test.want {
				t.Fatalf("%d barriers, want %d", n, test.want)
			}
			if test.want > 0 {
				told.Wait(t, driftdb.EventForeignWrite)
			}
			systemtest.Exec(t, db, "INSERT INTO t(a) VALUES('after')")
			if err := db.Shutdown(t.Context()); err != nil {
				t.Fatal(err)
			}
			db = systemtest.Open(t, cfg)
			if n := db.Metrics().Barriers; n != 0 {
				t.Errorf("%d barriers at the next open", n)
			}
		})
	}
}

// TestKilledAnyTime kills a process of ours while it writes and syncs, over and
// over. The next one finds its own last commit, and takes it for nobody else's.
// DRIFTDB_KILLS says how often.
func TestKilledAnyTime(t *testing.T) {
	cfg := systemtest.Config(t)
	if err := os.Mkdir(cfg.Path+"-bucket", 0o700); err != nil {
		t.Fatal(err)
	}
	kills := 3
	if s := os.Getenv("DRIFTDB_KILLS"); s != "" {
		if _, err := fmt.Sscan(s, &kills); err != nil {
			t.Fatal(err)
		}
	}
	for range kills {
		child(t, "busy, killed", cfg.Path, "") // which fails if it finds a barrier at Open
	}
	var err error
	if cfg.Store, err = objstore.Dir(cfg.Path + "-bucket"); err != nil {
		t.Fatal(err)
	}
	db := systemtest.Open(t, cfg)
	if n := db.Metrics().Barriers; n != 0 {
		t.Errorf("%d barriers", n)
	}
}
