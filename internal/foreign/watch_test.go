package foreign

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/driftdb/driftdb-go/internal/capture"
	"github.com/driftdb/driftdb-go/internal/change"
	"github.com/driftdb/driftdb-go/internal/changelog"
	"github.com/driftdb/driftdb-go/internal/dbfile"
	"github.com/driftdb/driftdb-go/internal/event"
	"github.com/driftdb/driftdb-go/internal/sqlite"
)

func must(t testing.TB, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// database is an open database with its watch, and nothing else of a DB.
type database struct {
	*Watch
	t      *testing.T
	file   *dbfile.File
	first  *sqlite.Conn
	hub    *capture.Shared
	writer *capture.Conn
	turn   sync.Mutex // whoever holds the writer
	told   *told
}

// told keeps what was logged.
type told struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *told) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *told) count(text string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.text.String(), text)
}

// open opens the database at path as an Open does that restores nothing, and compares
// with no bucket. It is closed with the test, if not before.
func open(t *testing.T, path string) *database {
	t.Helper()
	d := &database{t: t, told: new(told)}
	file, err := dbfile.Take(path)
	must(t, err)
	d.file = file
	t.Cleanup(func() { must(t, d.file.Release()) })
	d.Watch = New(Config{
		File: d.file, Log: event.To(slog.NewTextHandler(d.told, nil)), Public: func(err error) error { return err },
	})
	_, empty, err := d.file.There()
	must(t, err)
	var found Traces
	if !empty {
		found, err = d.Look(false)
		must(t, err)
	}
	must(t, d.file.Create())
	d.first, err = sqlite.Open(path, sqlite.Options{MustExist: true, KeepJournal: true, Claim: d.file.Hold})
	must(t, err)
	if found.InWAL() {
		belongs, err := found.WALBelongs(t.Context(), d.first)
		if must(t, err); !belongs {
			t.Fatal("the WAL does not belong to the file")
		}
	}
	opts := sqlite.Options{MustExist: true, Ledger: d.Ledger()}
	must(t, d.first.Reconfigure(opts))
	must(t, d.Begin(d.first, found, false, func(c *sqlite.Conn) error {
		_, err := changelog.Init(c, "")
		return err
	}))
	d.hub = capture.NewShared(0, 0, d.Committed)
	d.writer, err = capture.Open(path, opts, d.hub)
	must(t, err)
	t.Cleanup(d.closeAll)
	must(t, d.Attach(d.hub, d.writer), d.MarkOpen(d.writer))
	return d
}

// run runs statements on the writer.
func (d *database) run(statements ...string) {
	d.t.Helper()
	for _, s := range statements {
		if _, err := d.writer.ExecContext(d.t.Context(), s, nil); err != nil {
			d.t.Fatalf("%s: %v", s, err)
		}
	}
}

// leave closes the database, as Close does.
func (d *database) leave() {
	d.t.Helper()
	d.Stop()
	d.Leave(d.writer)
	d.closeAll()
	must(d.t, d.SetWALAside(), d.file.Release())
}

func (d *database) closeAll() {
	if d.writer == nil {
		return
	}
	d.Stop()
	must(d.t, d.writer.Close(), d.file.Unhold(), d.first.Close())
	d.writer = nil
}

// other runs a script as another program.
func other(t testing.TB, path string, scripts ...string) {
	t.Helper()
	c, err := new(sqlite.Driver).Open(path, sqlite.Options{KeepJournal: true})
	must(t, err)
	for _, s := range scripts {
		must(t, c.Exec(s))
	}
	must(t, c.Close())
}

// photo is the files of a database at a moment at which its process may be killed.
type photo struct {
	files    map[string][]byte
	modified time.Time // the database itself
}

func take(t testing.TB, path string) photo {
	t.Helper()
	info, err := os.Stat(path)
	must(t, err)
	p := photo{files: map[string][]byte{}, modified: info.ModTime()}
	for _, suffix := range []string{"", "-wal"} {
		b, err := os.ReadFile(path + suffix)
		if !errors.Is(err, os.ErrNotExist) {
			must(t, err)
			p.files[suffix] = b
		}
	}
	return p
}

// put makes the files those of the photo, which keep their inodes.
func (p photo) put(t testing.TB, path string) {
	t.Helper()
	for _, suffix := range []string{"-shm", "-wal"} {
		if err := os.Remove(path + suffix); !errors.Is(err, os.ErrNotExist) {
			must(t, err)
		}
	}
	for suffix, b := range p.files {
		must(t, os.WriteFile(path+suffix, b, 0o600))
	}
	must(t, os.Chtimes(path, p.modified, p.modified))
}

// crash ends the database as if its process had been killed: the files, the marker among
// them, stay as they are.
func (d *database) crash() {
	d.t.Helper()
	path := d.file.Path()
	left, err := markerLine(path)
	must(d.t, err)
	p := take(d.t, path)
	d.closeAll()
	must(d.t, d.file.Release())
	p.put(d.t, path)
	f, err := os.OpenFile(path+"-lock", os.O_RDWR, 0)
	must(d.t, err)
	_, err = f.WriteAt(left, 1)
	must(d.t, err, f.Close())
}

// markerLine reads the marker's bytes; the one before it is locked.
func markerLine(path string) ([]byte, error) {
	f, err := os.Open(path + "-lock")
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b := make([]byte, markerLen)
	_, err = f.ReadAt(b, 1)
	return b, err
}

// logged is how many barriers of this reason the log has.
func (d *database) logged(reason string) (n int64) {
	d.t.Helper()
	log := changelog.View(d.first)
	must(d.t, log.Each(1, func(tr changelog.Transaction) error {
		return log.Entries(tr, func(_ int64, e *change.Entry) error {
			if e.Op == change.Barrier && e.Reason == reason {
				n++
			}
			return nil
		})
	}))
	return n
}

const many = "INSERT INTO t(a) WITH n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n WHERE i<800) SELECT hex(randomblob(100)) FROM n"

// TestWhileClosed: what was done to the file between two sessions gives a barrier if it
// wrote, and only then.
func TestWhileClosed(t *testing.T) {
	clean := func(d *database) { d.leave() }
	crash := func(d *database) { d.crash() }
	without := func(suffix string) func(*testing.T, string) {
		return func(t *testing.T, path string) { must(t, os.Remove(path+suffix)) }
	}
	plain := func(scripts ...string) func(*testing.T, string) {
		return func(t *testing.T, path string) { other(t, path, scripts...) }
	}
	// killed is another program that writes and ends before any of it is in the file.
	killed := func(script string) func(*testing.T, string) {
		return func(t *testing.T, path string) {
			c, err := new(sqlite.Driver).Open(path, sqlite.Options{KeepJournal: true})
			must(t, err)
			must(t, c.Exec("PRAGMA wal_autocheckpoint=0"), c.Exec(script))
			p := take(t, path)
			must(t, c.Close())
			p.put(t, path)
		}
	}
	const moves = "PRAGMA auto_vacuum=FULL; CREATE TABLE t(id INTEGER PRIMARY KEY, a)"
	beside := func(d *database) { // another program keeps the file open, and so the WAL
		c, err := new(sqlite.Driver).Open(d.file.Path(), sqlite.Options{KeepJournal: true})
		must(d.t, err, c.Exec("SELECT * FROM t"))
		d.t.Cleanup(func() { c.Close() })
		d.leave()
	}
	for name, c := range map[string]struct {
		before string // what another program had made
		ours   []string
		end    func(*database)
		theirs func(*testing.T, string)
		want   int64
	}{
		"clean":                            {end: clean},
		"clean, read":                      {end: clean, theirs: plain("SELECT * FROM t")},
		"clean, written":                   {end: clean, theirs: plain("INSERT INTO t VALUES(2000, 1)"), want: 1},
		"clean, written, killed":           {end: clean, theirs: killed("INSERT INTO t VALUES(2000, 1)"), want: 1},
		"clean, another journal":           {end: clean, theirs: plain("PRAGMA journal_mode=DELETE", "INSERT INTO t VALUES(2000, 1)", "PRAGMA journal_mode=WAL"), want: 1},
		"clean, a commit nobody had seen":  {end: func(d *database) { other(d.t, d.file.Path(), "INSERT INTO t VALUES(2000, 1)"); d.leave() }, want: 1},
		"clean, no marker":                 {end: clean, theirs: without("-lock"), want: 1},
		"clean, beside others":             {end: beside},
		"clean, beside others, pages move": {before: moves, end: beside},
		"crash":                            {end: crash},
		"crash, pages move":                {before: moves, end: crash, want: 1},
		"crash after a large transaction":  {ours: []string{many}, end: crash},
		"crash after a deletion":           {ours: []string{many, "DELETE FROM t WHERE id % 2"}, end: crash},
		"crash after the WAL was cut":      {ours: []string{many, "PRAGMA wal_checkpoint(TRUNCATE)"}, end: func(d *database) { must(d.t, d.markCut(d.writer)); d.crash() }},
		"crash, nobody saw the WAL cut":    {ours: []string{many, "PRAGMA wal_checkpoint(TRUNCATE)"}, end: crash, want: 1},
		"crash, read, which cuts the WAL":  {end: crash, theirs: plain("SELECT * FROM t"), want: 1},
		"crash, written":                   {ours: []string{many}, end: crash, theirs: killed("INSERT INTO t VALUES(2000, 1)"), want: 1},
		"crash, a commit nobody had seen":  {end: func(d *database) { other(d.t, d.file.Path(), "INSERT INTO t VALUES(2000, 1)"); d.crash() }, want: 1},
		"crash, a commit that was noticed": {end: func(d *database) {
			other(d.t, d.file.Path(), "INSERT INTO t VALUES(2000, 1)")
			must(d.t, d.Notice(d.writer))
			d.crash()
		}},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "app.sqlite")
			if c.before != "" {
				other(t, path, c.before)
			}
			d := open(t, path)
			d.run("CREATE TABLE IF NOT EXISTS t(id INTEGER PRIMARY KEY, a)", "INSERT INTO t(a) VALUES(0)")
			d.run(c.ours...)
			c.end(d)
			if c.theirs != nil {
				c.theirs(t, path)
			}
			d = open(t, path)
			if n := d.Barriers(); n != c.want || d.logged(changedWhileClosed) != n {
				t.Errorf("%d barriers, %d of them in the log; want %d", n, d.logged(changedWhileClosed), c.want)
			}
			d.run("INSERT INTO t(a) VALUES('after')")
			d.leave()
			if d = open(t, path); d.Barriers() != 0 {
				t.Errorf("%d barriers at the next open", d.Barriers())
			}
		})
	}
}

// ifFree runs fn with the writer, if nobody uses it.
func (d *database) ifFree(fn func(*capture.Conn) error) error {
	if !d.turn.TryLock() {
		return nil
	}
	defer d.turn.Unlock()
	return fn(d.writer)
}

// start starts the watch's goroutine, which looks every second.
func (d *database) start() (rounds func() int) {
	var mu sync.Mutex
	n := 0
	d.Start(Rounds{Every: time.Second, IfFree: d.ifFree, Closed: func() bool { return false }, Tell: func() {}, Do: func(context.Context) {
		mu.Lock()
		defer mu.Unlock()
		n++
	}})
	return func() int {
		mu.Lock()
		defer mu.Unlock()
		return n
	}
}

// TestWhileOpen: the goroutine notices what nobody of ours commits on top of, unless the
// writer is taken, and tells of it once.
func TestWhileOpen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := open(t, filepath.Join(t.TempDir(), "app.sqlite"))
		d.run("CREATE TABLE t(a)")
		rounds := d.start()
		after := func(wait time.Duration, barriers int64, said int) {
			t.Helper()
			time.Sleep(wait)
			synctest.Wait()
			if n := d.Barriers(); n != barriers || d.told.count(string(event.ForeignWrite)) != said {
				t.Fatalf("%d barriers, want %d; told %d times, want %d:\n%s", n, barriers, d.told.count(string(event.ForeignWrite)), said, d.told.text.String())
			}
		}
		after(10*time.Second, 0, 0)
		other(t, d.file.Path(), "INSERT INTO t VALUES(1)")
		d.turn.Lock()
		after(10*time.Second, 0, 0)
		d.turn.Unlock()
		after(10*time.Second, 1, 1)
		if n := rounds(); n < 29 {
			t.Errorf("%d rounds in half a minute", n)
		}
		other(t, d.file.Path(), "INSERT INTO t VALUES(2)")
		d.run("INSERT INTO t VALUES(3)") // which notices
		d.Stop()
		after(0, 2, 2)
	})
}

// TestReplaced: from the moment on that another file is in the place, or the file is cut
// off, writes are refused and nothing is looked after. It is told once, and the marker
// stays what it was.
func TestReplaced(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows lets nobody move or replace a file that is open")
	}
	copied := func(path string) error {
		b, err := os.ReadFile(path)
		return errors.Join(err, os.Rename(path, path+".moved"), os.WriteFile(path, b, 0o600))
	}
	empty := func(path string) error {
		return errors.Join(os.Rename(path, path+".moved"), os.WriteFile(path, nil, 0o600))
	}
	cut := func(path string) error { return os.Truncate(path, 4096) }
	for name, replace := range map[string]func(path string) error{"a copy": copied, "an empty file": empty, "cut off": cut} {
		for _, looks := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, looks %v", name, looks), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) { replaced(t, replace, looks) })
			})
		}
	}
}

// replaced replaces the file while it is open. looks says whether anybody looks before it
// is closed.
func replaced(t *testing.T, replace func(path string) error, looks bool) {
	d := open(t, filepath.Join(t.TempDir(), "app.sqlite"))
	d.run("CREATE TABLE t(a)", "PRAGMA wal_checkpoint(TRUNCATE)")
	must(t, d.markCut(d.writer), d.file.CheckSize(true))
	d.run("INSERT INTO t VALUES(0)") // so that the WAL has something, and no look writes the marker
	path := d.file.Path()
	before, err := markerLine(path)
	must(t, err)
	rounds := func() int { return 0 }
	if looks {
		rounds = d.start()
	}
	must(t, replace(path))
	time.Sleep(10 * time.Second)
	synctest.Wait()
	if looks {
		_, err = d.writer.ExecContext(t.Context(), "INSERT INTO t VALUES(1)", nil)
		if refused := d.hub.Refused(); !errors.Is(refused, dbfile.ErrReplaced) || err == nil || rounds() > 1 { // one: a cut is looked at twice
			t.Errorf("refused %v, a write: %v, %d rounds", refused, err, rounds())
		}
	}
	d.leave()
	if n := d.told.count(string(event.FileReplaced)); n != 1 && looks {
		t.Errorf("told\n%s", d.told.text.String())
	}
	if after, err := markerLine(path); err != nil || !bytes.Equal(before, after) {
		t.Errorf("the marker of a file that is lost: %q, before %q (%v)", after, before, err)
	}
}

// TestPrivate: nobody else can find the file, so nothing is left for another session.
func TestPrivate(t *testing.T) {
	d := open(t, filepath.Join(t.TempDir(), "app.sqlite"))
	path := d.file.Path()
	before, err := markerLine(path)
	must(t, err)
	d.cfg.Private = true
	d.run("CREATE TABLE t(a)")
	must(t, d.MarkOpen(d.writer), d.markClean(d.writer))
	if after, err := markerLine(path); err != nil || !bytes.Equal(before, after) {
		t.Errorf("the marker is %q, and was %q (%v)", after, before, err)
	}
	found := Traces{file: d.file, ours: true}
	if same, err := found.AsLeft(d.first); err != nil || !same {
		t.Errorf("a private file is taken for somebody else's (%v)", err)
	}
}

// TestToldAtTheEnd: what was committed before the goroutine has ended is told.
func TestToldAtTheEnd(t *testing.T) {
	told := new(told)
	w := New(Config{Log: event.To(slog.NewTextHandler(told, nil))})
	tells, committed := make(chan struct{}, 3), make(chan struct{})
	w.Start(Rounds{Every: time.Hour, Tell: func() {
		if tells <- struct{}{}; len(tells) > 1 {
			<-committed
		}
	}})
	for len(tells) == 0 {
		runtime.Gosched()
	}
	w.cancel()
	w.Committed("the last")
	close(committed)
	w.Stop()
	if told.count("the last") != 1 {
		t.Errorf("told %q", told.text.String())
	}
}

// TestTold: the same reason, time and again, is told once.
func TestTold(t *testing.T) {
	told := new(told)
	w := New(Config{Log: event.To(slog.NewTextHandler(told, nil)), Snapshots: true})
	for _, reason := range []string{"one", "one", "", "two", "one"} {
		w.Committed(reason)
	}
	w.Count()
	w.tell()
	w.tell()
	if n := w.Barriers(); n != 5 || told.count(string(event.Barrier)) != 3 || told.count("reason=one") != 2 {
		t.Errorf("%d barriers, told\n%s", n, told.text.String())
	}
}
