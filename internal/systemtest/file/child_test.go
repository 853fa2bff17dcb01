package file_test

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	osexec "os/exec"
	"strings"
	"testing"
	"time"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/sqlite"
	"github.com/driftdb/driftdb-go/internal/systemtest/subprocess"
	"github.com/driftdb/driftdb-go/objstore"
)

// neighbour is another process: what it does, the path of a database, and statements.
var neighbour = subprocess.Register("neighbour", func(t testing.TB, args []string) {
	does, path, script := args[0], args[1], args[2]
	switch does {
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
		marker := func() string {
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
		before := marker()
		for _, s := range strings.Split(script, ";;") {
			switch past, plain := strings.CutPrefix(s, "PLAIN "); {
			case plain:
				var c *sqlite.Conn
				if c, err = new(sqlite.Driver).Open(path, sqlite.Options{}); err == nil {
					err = c.Exec(past) // and stays open
				}
			case s == "MARKED":
				for marker() == before {
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
	if strings.HasSuffix(does, "killed") {
		_, _ = io.Copy(io.Discard, os.Stdin) // until the end
	}
})

// child runs a process and returns when it has done its work: it has ended, or
// it was killed.
func child(t testing.TB, does, path, script string) {
	t.Helper()
	cmd := neighbour.Command(t.Context(), does, path, script)
	cmd.Stderr = os.Stderr
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
func busy(t testing.TB, db *driftdb.DB) {
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
