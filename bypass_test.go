package driftdb_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	osexec "os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/sqlite"
	"github.com/driftdb/driftdb-go/objstore"
)

// The environment of the processes that the tests below start.
const (
	childDoes = "DRIFTDB_TEST_CHILD"
	childPath = "DRIFTDB_TEST_PATH"
	childSQL  = "DRIFTDB_TEST_SQL"
)

// TestChild is no test: it is what those processes run.
func TestChild(t *testing.T) {
	path, script := os.Getenv(childPath), os.Getenv(childSQL)
	switch os.Getenv(childDoes) {
	case "":
		t.Skip("for other tests")
	case "plain", "plain, killed":
		c, err := new(sqlite.Driver).Open(path, sqlite.Options{KeepJournal: true, BusyTimeout: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		for _, s := range strings.Split(script, ";;") {
			if err := c.Exec(s); err != nil {
				t.Fatal(err)
			}
		}
	case "busy, killed":
		store, err := objstore.Dir(path + "-bucket")
		if err != nil {
			t.Fatal(err)
		}
		db, err := driftdb.Open(t.Context(), driftdb.Config{Name: "app", Path: path, Store: store, SyncInterval: time.Millisecond, ManifestInterval: time.Millisecond, SnapshotEvery: 300})
		if err != nil {
			t.Fatal(err)
		}
		if n := db.Metrics().Barriers; n != 0 {
			t.Fatalf("%d barriers", n)
		}
		busy(t, db)
	case "driftdb, killed":
		store, err := objstore.Dir(path + "-bucket")
		if err != nil {
			t.Fatal(err)
		}
		looks := 10 * time.Millisecond
		if strings.Contains(script, "PLAIN") {
			looks = time.Hour // it notices what it is told to flush, and nothing else before it is killed
		}
		db, err := driftdb.Open(t.Context(), driftdb.Config{Name: "app", Path: path, Store: store, ManualSync: true, AutoRestore: true, SyncInterval: looks})
		if err != nil {
			t.Fatal(err)
		}
		note := func() string {
			f, err := os.Open(path + "-lock")
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			b, err := io.ReadAll(io.NewSectionReader(f, 1, 100)) // the first byte is locked
			if err != nil {
				t.Fatal(err)
			}
			return string(b)
		}
		before := note()
		for _, s := range strings.Split(script, ";;") {
			switch past, plain := strings.CutPrefix(s, "PLAIN "); {
			case plain:
				var c *sqlite.Conn
				if c, err = new(sqlite.Driver).Open(path, sqlite.Options{}); err == nil {
					err = c.Exec(past) // and stays open
				}
			case s == "NOTED":
				for note() == before {
					time.Sleep(time.Millisecond)
				}
			case s == "FLUSH":
				err = db.Flush(t.Context())
			case s != "":
				_, err = db.Exec(t.Context(), s)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		if n := db.Metrics().Barriers; n != 0 && !strings.Contains(script, "PLAIN") {
			t.Fatalf("%d barriers", n)
		}
	}
	fmt.Println("READY")
	if strings.HasSuffix(os.Getenv(childDoes), "killed") {
		_, _ = io.Copy(io.Discard, os.Stdin) // until the end
	}
}

// child runs a process and returns when it has done its work: it has ended, or
// it was killed.
func child(t testing.TB, does, path, script string) {
	t.Helper()
	cmd := osexec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestChild$", "-test.timeout=2m")
	cmd.Env = append(os.Environ(), childDoes+"="+does, childPath+"="+path, childSQL+"="+script)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ready, said := false, ""
	for in := bufio.NewScanner(stdout); !ready && in.Scan(); {
		ready, said = in.Text() == "READY", said+in.Text()+"\n"
	}
	if strings.HasSuffix(does, "killed") {
		if strings.HasPrefix(does, "busy") {
			time.Sleep(rand.N(300 * time.Millisecond)) // a moment that nobody has chosen
		}
		_ = cmd.Process.Kill()
	} else {
		_, _ = io.Copy(io.Discard, stdout)
	}
	if err := cmd.Wait(); !ready {
		t.Fatalf("%s: %v\n%s", does, err, said)
	}
}

// busy writes from four goroutines, and does not wait for them.
func busy(t *testing.T, db *driftdb.DB) {
	if _, err := db.Exec(t.Context(), "CREATE TABLE IF NOT EXISTS t(id INTEGER PRIMARY KEY AUTOINCREMENT, a)"); err != nil {
		t.Fatal(err)
	}
	for i := range 4 {
		go func() {
			for n := 0; ; n++ {
				_, err := db.SQL().ExecContext(t.Context(), "INSERT INTO t(a) VALUES(hex(randomblob(300)))")
				if err == nil && n%50 == i {
					_, err = db.Exec(t.Context(), "INSERT INTO t(a) SELECT a FROM t LIMIT 2000; DELETE FROM t WHERE id % 3 = 0")
				}
				if err != nil {
					fmt.Println(err)
					return
				}
			}
		}()
	}
}

// TestKilledAnyTime kills a process of ours while it writes and syncs, over and
// over. The next one finds its own last commit, and takes it for nobody else's.
// DRIFTDB_KILLS says how often.
func TestKilledAnyTime(t *testing.T) {
	cfg := config(t)
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
	db := open(t, cfg)
	if n := db.Metrics().Barriers; n != 0 {
		t.Errorf("%d barriers", n)
	}
}

// shell runs the sqlite3 shell on the file, or says that there is none.
func shell(t testing.TB, path, script string) bool {
	t.Helper()
	if _, err := osexec.LookPath("sqlite3"); err != nil {
		if os.Getenv("DRIFTDB_REQUIRE_TOOLS") != "" {
			t.Fatal(err)
		}
		return false
	}
	cmd := osexec.CommandContext(t.Context(), "sqlite3", "-cmd", ".timeout 60000", path, script)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return true
}

// events keeps what a database tells.
type events struct {
	mu   sync.Mutex
	list []driftdb.Event
	more chan struct{}
}

func listen(cfg *driftdb.Config) *events {
	e := &events{more: make(chan struct{}, 1)}
	cfg.OnEvent = func(ev driftdb.Event) {
		e.mu.Lock()
		e.list = append(e.list, ev)
		e.mu.Unlock()
		select {
		case e.more <- struct{}{}:
		default:
		}
	}
	return e
}

// wait returns when an event is there that fits.
func (e *events) wait(t testing.TB, what string, fits func(driftdb.Event) bool) {
	t.Helper()
	late := time.After(time.Minute)
	for {
		e.mu.Lock()
		found := slices.ContainsFunc(e.list, fits)
		e.mu.Unlock()
		if found {
			return
		}
		select {
		case <-e.more:
		case <-late:
			t.Fatalf("no event: %s", what)
		}
	}
}

func (e *events) warned(t testing.TB, reason string) {
	t.Helper()
	e.wait(t, "a warning: "+reason, func(ev driftdb.Event) bool {
		return ev.Level == slog.LevelWarn && ev.Scope == "capture" && strings.Contains(fmt.Sprint(ev.Attrs["reason"]), reason)
	})
}

// TestBypassWhileBusy: other programs write while our own writers do, on the
// writer and on several connections of db.SQL(), and the engine uploads. What
// is in the bucket at the end is what is in the file.
func TestBypassWhileBusy(t *testing.T) {
	cfg := config(t)
	cfg.ManualSync, cfg.SyncInterval = false, 20*time.Millisecond
	told := listen(&cfg)
	db := open(t, cfg) // compares at the end
	exec(t, db, "CREATE TABLE t(id INTEGER PRIMARY KEY AUTOINCREMENT, who)")
	type user struct {
		driftdb.Base
		Name string
	}
	users, err := driftdb.Define[user](t.Context(), db, "users")
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var ours sync.WaitGroup
	write := func(fn func(context.Context) error) {
		ours.Go(func() {
			for ctx.Err() == nil {
				if err := fn(t.Context()); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	write(func(ctx context.Context) error { _, err := users.Create(ctx, user{Name: "n"}); return err })
	write(func(ctx context.Context) error {
		_, err := db.Exec(ctx, "INSERT INTO t(who) VALUES('exec')")
		return err
	})
	for range 2 {
		write(func(ctx context.Context) error {
			_, err := db.SQL().ExecContext(ctx, "INSERT INTO t(who) VALUES('sql')")
			return err
		})
	}
	for range 3 {
		child(t, "plain", cfg.Path, "INSERT INTO t(who) VALUES('other process');;DELETE FROM t WHERE id % 7 = 0")
		shell(t, cfg.Path, "INSERT INTO t(who) VALUES('shell'); UPDATE users SET name = 'changed by the shell' WHERE rowid % 3 = 0")
	}
	stop()
	ours.Wait()
	told.warned(t, "another program")
	told.wait(t, "a snapshot", func(ev driftdb.Event) bool { return strings.Contains(ev.Message, "snapshot") })
	if err := db.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	m := db.Metrics()
	if m.Barriers < 3 || m.LastSnapshotAt.IsZero() || m.ConfirmedSequence != m.LatestSequence {
		t.Errorf("metrics: %+v", m)
	}
}

// TestBypassWhileIdle: nobody of ours writes. The guard notices, with a store
// and without one.
func TestBypassWhileIdle(t *testing.T) {
	for _, synced := range []bool{true, false} {
		t.Run(fmt.Sprintf("store %v", synced), func(t *testing.T) {
			cfg := config(t)
			cfg.SyncInterval, cfg.ManualSync = 10*time.Millisecond, false
			if !synced {
				cfg.Store = nil
			}
			told := listen(&cfg)
			db := open(t, cfg)
			exec(t, db, "CREATE TABLE t(a)")
			child(t, "plain", cfg.Path, "INSERT INTO t VALUES(1);;INSERT INTO t VALUES(2)")
			told.warned(t, "another program")
			if synced {
				told.wait(t, "a snapshot", func(ev driftdb.Event) bool { return ev.Message == "stored a snapshot" })
				restored := filepath.Join(t.TempDir(), "restored.sqlite")
				res, err := driftdb.Restore(t.Context(), driftdb.RestoreConfig{Name: cfg.Name, Path: restored, Store: cfg.Store})
				if err != nil || res.Rows != 2 {
					t.Errorf("restored without a Flush: %+v, %v", res, err)
				}
			}
			if n := db.Metrics().Barriers; n < 1 || n > 2 {
				t.Errorf("%d barriers for two commits that came together", n)
			}
		})
	}
}

// TestBypassBeforeFlush: what another program has written before Flush,
// Snapshot or Shutdown is called is in the bucket when it returns.
func TestBypassBeforeFlush(t *testing.T) {
	for name, call := range map[string]func(context.Context, *driftdb.DB) error{
		"Flush":    func(ctx context.Context, db *driftdb.DB) error { return db.Flush(ctx) },
		"Snapshot": func(ctx context.Context, db *driftdb.DB) error { _, err := db.Snapshot(ctx); return err },
		"Shutdown": func(ctx context.Context, db *driftdb.DB) error { return db.Shutdown(ctx) },
	} {
		t.Run(name, func(t *testing.T) {
			cfg := config(t)
			cfg.SyncInterval = time.Hour
			db := open(t, cfg)
			exec(t, db, "CREATE TABLE t(a)")
			if err := db.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
			child(t, "plain", cfg.Path, "INSERT INTO t VALUES(1)")
			if err := call(t.Context(), db); err != nil {
				t.Fatal(err)
			}
			if res, err := driftdb.Restore(t.Context(), driftdb.RestoreConfig{Name: cfg.Name, Path: filepath.Join(t.TempDir(), "r"), Store: cfg.Store}); err != nil || res.Rows != 1 {
				t.Errorf("%+v, %v", res, err)
			}
		})
	}
}

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
		exec(t, db, "CREATE TABLE IF NOT EXISTS t(id INTEGER PRIMARY KEY, a)")
		exec(t, db, "INSERT INTO t(a) VALUES('clean')")
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
		"clean, note is gone":                        {steps{clean, spoil(func(b []byte) []byte { return nil })}, 1},
		"clean, note is cut":                         {steps{clean, spoil(func(b []byte) []byte { return b[:40] })}, 1},
		"clean, note is damaged":                     {steps{clean, spoil(func(b []byte) []byte { b[40] ^= 1; return b })}, 1}, // where the WAL would matter
		"foreign writer, wrong name":                 {steps{clean, plain("plain", write), wrongName}, 1},
		"killed without a write":                     {steps{clean, killed("")}, 0},
		"killed without a write, then foreign":       {steps{clean, killed(""), plain("plain", write)}, 1},
		"killed after inserts":                       {steps{killed(made)}, 0},
		"killed after a large transaction":           {steps{killed(many)}, 0},
		"killed after a flush":                       {steps{killed(many + ";;FLUSH")}, 0},
		"killed after the WAL was cut":               {steps{killed(made + ";;PRAGMA wal_checkpoint(TRUNCATE);;NOTED")}, 0},
		"killed after the WAL was cut, then foreign": {steps{killed(made + ";;PRAGMA wal_checkpoint(TRUNCATE);;NOTED"), plain("plain", write)}, 1},
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
			cfg := config(t)
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
			told := listen(&cfg)
			db := open(t, cfg) // compares at the end
			if n := db.Metrics().Barriers; n != test.want {
				t.Fatalf("%d barriers, want %d", n, test.want)
			}
			if test.want > 0 {
				told.warned(t, "while DriftDB had it closed")
			}
			exec(t, db, "INSERT INTO t(a) VALUES('after')")
			if err := db.Shutdown(t.Context()); err != nil {
				t.Fatal(err)
			}
			db = open(t, cfg)
			if n := db.Metrics().Barriers; n != 0 {
				t.Errorf("%d barriers at the next open", n)
			}
		})
	}
}

// TestNoBypass: thousands of commits of our own, on four connections of each
// way in, with the engine uploading, confirming, trimming and taking
// snapshots, look foreign to nobody.
func TestNoBypass(t *testing.T) {
	cfg := config(t)
	cfg.ManualSync, cfg.SyncInterval, cfg.ManifestInterval, cfg.SnapshotEvery = false, time.Millisecond, time.Millisecond, 200
	db := open(t, cfg)
	exec(t, db, "CREATE TABLE t(id INTEGER PRIMARY KEY AUTOINCREMENT, a UNIQUE)")
	commits := 500
	if testing.Short() {
		commits = 100
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for i := range commits {
				for _, err := range []error{
					second(db.Exec(t.Context(), "INSERT INTO t(a) VALUES(hex(randomblob(8)))")),
					second(db.SQL().ExecContext(t.Context(), "INSERT OR IGNORE INTO t(a) SELECT a FROM t LIMIT 1")),
					second(db.SQL().ExecContext(t.Context(), fmt.Sprintf("CREATE TABLE IF NOT EXISTS u%d(a)", i/50))),
				} {
					if err != nil {
						t.Error(err)
						return
					}
				}
			}
		})
	}
	wg.Wait()
	if m := db.Metrics(); m.Barriers != 0 || m.LastSnapshotAt.IsZero() {
		t.Errorf("metrics: %+v", m)
	}
}

// TestBypassOtherFiles: files that DriftDB itself has just made give no barrier.
func TestBypassOtherFiles(t *testing.T) {
	ctx := t.Context()
	cfg := config(t)
	db := open(t, cfg)
	some(t, db, "t", 3)
	if err := db.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	none := func(db *driftdb.DB) {
		t.Helper()
		if n := db.Metrics().Barriers; n != 0 {
			t.Errorf("%d barriers", n)
		}
	}
	again := cfg
	again.Path, again.AutoRestore = filepath.Join(t.TempDir(), "again.sqlite"), true
	for range 2 {
		restored, err := driftdb.Open(ctx, again)
		if err != nil {
			t.Fatal(err)
		}
		none(restored)
		some(t, restored, "t", 3)
		if err := restored.Shutdown(ctx); err != nil {
			t.Fatal(err)
		}
	}
	if err := driftdb.Detach(again.Path); err != nil {
		t.Fatal(err)
	}
	again.Name, again.AutoRestore = "branch", false
	none(open(t, again))
	over := filepath.Join(t.TempDir(), "over.sqlite")
	for range 2 { // the second one finds the first one's file, and the note beside it
		if _, err := driftdb.Restore(ctx, driftdb.RestoreConfig{Name: cfg.Name, Path: over, Store: cfg.Store, Overwrite: true}); err != nil {
			t.Fatal(err)
		}
		copied := config(t)
		copied.Path = over
		db := open(t, copied)
		none(db)
		some(t, db, "t", 1)
		if err := db.Shutdown(ctx); err != nil {
			t.Fatal(err)
		}
	}
	memory := driftdb.Config{Name: "m", Path: ":memory:"}
	none(open(t, memory))
}
