package worldtest

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/driftdb/driftdb-go/internal/dbtest"
	"github.com/driftdb/driftdb-go/internal/mounttest"
	"github.com/driftdb/driftdb-go/internal/systemtest"
)

// The matrix: something happens to the file, at some moment of a program's life,
// and then the program goes on, closes, or is killed. Afterwards
//
//   - the bucket restores to a state that was committed, at or after the last one
//     whose upload was acknowledged;
//   - nothing is gone that belongs to somebody else;
//   - if anything is gone that the program was told is committed, somebody was told;
//   - the program runs again: by itself, or after what the error says was done.
var (
	whats = []string{
		"nothing", "deleted", "older copy", "stranger's file", "truncated", "folder renamed", "-wal removed", "-shm removed", "-lock removed",
		"second process by hard link", "second process by symlink", "second process by mount", "second process by another relative path",
	}
	whens = []string{"idle", "writing", "snapshotting", "restoring", "catching up", "closing"}
	thens = []string{"go on", "close", "kill"}
)

var worlds = flag.String("worlds", "", "which cases of TestMatrix to run, as 7 or 0-9999")

// TestMatrix: see above.
func TestMatrix(t *testing.T) { playAll(t, 300, 36, playWorld) }

// playAll plays the first cases, or those that the flag says. Each is a process or more, and
// waits most of the time.
func playAll(t *testing.T, all, short int, play func(t *testing.T, n int, s seeds, mounts bool)) {
	if *worlds != "" {
		t.Setenv(worldCases, *worlds)
	}
	mounts := mounttest.Possible(t)
	if mounts && !mounttest.Inside(t) {
		return
	}
	first, last := 0, all-1
	if testing.Short() {
		last = short - 1
	}
	if env := os.Getenv(worldCases); env != "" {
		*worlds = env
	}
	if from, to, several := strings.Cut(*worlds, "-"); *worlds != "" {
		var err error
		first, err = strconv.Atoi(from)
		systemtest.Check(t, err)
		if last = first; several {
			last, err = strconv.Atoi(to)
			systemtest.Check(t, err)
		}
	}
	seed := newSeeds(t)
	var together sync.WaitGroup
	turns := make(chan struct{}, 2*runtime.GOMAXPROCS(0))
	for n := first; n <= last; n++ {
		turns <- struct{}{}
		together.Go(func() {
			defer func() { <-turns }()
			t.Run(fmt.Sprint(n), func(t *testing.T) { play(t, n, seed, mounts) })
		})
	}
	together.Wait()
}

func playWorld(t *testing.T, n int, s seeds, mounts bool) {
	w := newWorld(t, n, s)
	w.mounts = mounts
	defer func() {
		if t.Failed() {
			t.Logf("%s while %s, then %s (go test ./internal/worldtest -run TestMatrix -worlds %d); events: %q", w.what, w.when, w.then, n, w.p.told())
		}
	}()
	w.play()
}

// worldCases is -worlds for the process that the test starts itself again in.
const worldCases = "DRIFTDB_WORLD_CASES"

// seeds are what all worlds begin with.
type seeds struct {
	store string // a backup of rows 1 to seedRows
	old   string // the folder of a clean file that has rows 1 to oldRows of it
	new   string // the folder of a clean file that has them all
}

const oldRows, seedRows = 20, 40

func newSeeds(t *testing.T) seeds {
	t.Helper()
	dir := folder(t, "old", "new")
	s := seeds{store: filepath.Join(dir, "store"), old: filepath.Join(dir, "old"), new: filepath.Join(dir, "new")}
	systemtest.Check(t, os.Mkdir(s.store, 0o755))
	path := filepath.Join(s.new, "app.sqlite")
	p := start(t, dir)
	p.must("open", path, s.store)
	p.must("exec", "CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT)")
	p.must("insert", "1", fmt.Sprint(oldRows))
	p.must("snapshot")
	p.end()
	clone(t, s.new, s.old)
	p = start(t, dir)
	p.must("open", path, s.store)
	p.must("insert", fmt.Sprint(oldRows+1), fmt.Sprint(seedRows-oldRows))
	p.must("flush")
	p.end()
	return s
}

// clone copies the files of a folder, and their times.
func clone(t testing.TB, from, to string) {
	t.Helper()
	systemtest.Check(t, os.MkdirAll(to, 0o755))
	entries, err := os.ReadDir(from)
	systemtest.Check(t, err)
	for _, e := range entries {
		a, b := filepath.Join(from, e.Name()), filepath.Join(to, e.Name())
		if e.IsDir() {
			clone(t, a, b)
			continue
		}
		copyFile(t, a, b)
		info, err := e.Info()
		systemtest.Check(t, err)
		systemtest.Check(t, os.Chtimes(b, info.ModTime(), info.ModTime()))
	}
}

// world is one case.
type world struct {
	*testing.T
	what, when, then string
	rnd              *rand.Rand
	mounts           bool // can be made
	follows          bool // the file is a follower's
	begins           bool // the program may not have the file yet when something happens to it

	dir, folder, path, store string
	stranger                 []byte // the file that somebody has put there

	p       *program
	acked   int  // rows that the program was told are committed
	flushed int  // rows whose upload was acknowledged
	told    bool // somebody was
	writing <-chan string
}

func newWorld(t *testing.T, n int, s seeds) *world {
	rnd := rand.New(rand.NewPCG(uint64(n), 10))
	w := &world{T: t, rnd: rnd, dir: folder(t)}
	w.what, w.when, w.then = whats[n%len(whats)], whens[n/len(whats)%len(whens)], thens[n/len(whats)/len(whens)%len(thens)]
	w.folder, w.store = filepath.Join(w.dir, "d"), filepath.Join(w.dir, "store")
	w.path = filepath.Join(w.folder, "app.sqlite")
	clone(t, s.store, w.store)
	switch w.when {
	case "restoring":
		systemtest.Check(t, os.Mkdir(w.folder, 0o755))
	case "catching up":
		clone(t, s.old, w.folder)
	default:
		clone(t, s.new, w.folder)
	}
	clone(t, s.old, filepath.Join(w.dir, "old"))
	for _, name := range []string{"notes.txt", "app.sqlite.bak", "app.sqlite-wal.mine"} {
		systemtest.Check(t, os.WriteFile(filepath.Join(w.folder, name), []byte(name), 0o644))
	}
	w.acked, w.flushed = seedRows, seedRows
	return w
}

func (w *world) play() {
	w.p = start(w, w.folder)
	var opening <-chan string
	switch w.when {
	case "restoring", "catching up":
		w.p.must("hold", "get logs")
		opening = w.p.begin("open", w.path, w.store, "auto")
		select {
		case <-w.p.held:
		case text := <-opening:
			w.Fatalf("open: %s", text)
		}
	default:
		w.p.must("open", w.path, w.store)
		w.insert(5)
		w.flush()
	}
	var closing, snapshot <-chan string
	switch w.when {
	case "writing", "closing":
		w.writeOn()
		if w.when == "closing" {
			closing = w.p.begin("close")
			w.doze()
		}
	case "snapshotting":
		w.p.must("hold", "put snapshots")
		w.insert(1)
		snapshot = w.p.begin("snapshot")
		<-w.p.held
	}
	w.happen()
	if w.rnd.IntN(2) == 0 {
		w.doze()
	}
	if w.then == "kill" {
		w.p.kill()
		w.wrote()
		w.hear()
		w.again()
		return
	}
	w.p.must("release")
	if opening != nil {
		w.note(w.p.answer(opening))
	}
	if snapshot != nil {
		w.note(w.p.answer(snapshot))
	}
	if w.then == "go on" && closing == nil {
		w.wrote()
		w.insert(3)
		w.flush()
	}
	if closing == nil {
		closing = w.p.begin("close")
	}
	w.note(w.p.answer(closing))
	w.wrote()
	w.p.kill()
	w.hear()
	w.again()
}

// doze waits a moment of a length that the case's seed says.
func (w *world) doze() { time.Sleep(time.Duration(w.rnd.IntN(60)) * time.Millisecond) }

// note takes an answer down: an error tells somebody.
func (w *world) note(answer string) bool {
	failed := strings.HasPrefix(answer, "error: ")
	w.told = w.told || failed
	return !failed
}

// insert inserts rows, as far as they are taken.
func (w *world) insert(n int) {
	if w.writing != nil {
		return
	}
	w.count(w.p.do("insert", fmt.Sprint(w.acked+1), fmt.Sprint(n)))
}

func (w *world) count(answer string) {
	if n, err := strconv.Atoi(strings.TrimPrefix(answer, "ok ")); err == nil {
		w.acked += n
	}
}

// writeOn inserts rows until something is in the way.
func (w *world) writeOn() {
	w.writing = w.p.begin("insert", fmt.Sprint(w.acked+1), "100000")
	w.doze()
}

// wrote stops that; what was acknowledged is known only if the program still lives.
func (w *world) wrote() {
	if w.writing == nil {
		return
	}
	if w.then != "kill" {
		if w.when == "writing" {
			w.note(w.p.do("close")) // which ends it
			w.then = "close"
		}
		w.count(w.p.answer(w.writing))
	}
	w.writing = nil
}

func (w *world) flush() {
	acked := w.acked
	if w.writing == nil && w.note(w.p.do("flush")) {
		w.flushed = acked
	}
}

// hear looks whether the program has told of anything.
func (w *world) hear() {
	for _, e := range w.p.told() {
		w.told = w.told || strings.HasPrefix(e, "WARN") || strings.HasPrefix(e, "ERROR") || strings.HasPrefix(e, "refused")
	}
}

// happen does to the file what the case says.
func (w *world) happen() {
	switch w.what {
	case "nothing":
	case "deleted":
		_ = os.Remove(w.path)
	case "older copy":
		w.rename(filepath.Join(w.dir, "old", "app.sqlite"), w.path)
	case "stranger's file":
		file := filepath.Join(w.dir, "stranger")
		script(w, file, "CREATE TABLE theirs(x); INSERT INTO theirs VALUES('precious')")
		data, err := os.ReadFile(file)
		systemtest.Check(w, err)
		if w.rename(file, w.path) {
			w.stranger = data
		}
	case "truncated":
		if info, err := os.Stat(w.path); err == nil {
			systemtest.Check(w, os.Truncate(w.path, info.Size()*int64(w.rnd.IntN(2))/2))
		}
	case "folder renamed":
		if w.rename(w.folder, w.folder+"2") {
			systemtest.Check(w, os.Mkdir(w.folder, 0o755))
		}
	case "-wal removed", "-shm removed", "-lock removed":
		suffix, _, _ := strings.Cut(w.what, " ")
		_ = os.Remove(w.path + suffix)
	default:
		w.second(strings.TrimPrefix(w.what, "second process by "))
	}
}

// rename renames a file, or a folder with the file. Windows refuses that while a program
// has it open: then nothing happens.
func (w *world) rename(from, to string) (done bool) {
	err := os.Rename(from, to)
	if err != nil && runtime.GOOS == "windows" {
		w.what = "nothing"
		return false
	}
	systemtest.Check(w, err)
	return true
}

// second starts a second process on the same file.
func (w *world) second(way string) {
	alias := filepath.Join(w.dir, "e", "alias.sqlite")
	systemtest.Check(w, os.Mkdir(filepath.Dir(alias), 0o755))
	switch way {
	case "hard link":
		if os.Link(w.path, alias) != nil {
			return // there is no file yet
		}
	case "symlink":
		if err := os.Symlink(w.path, alias); runtime.GOOS == "windows" {
			if _, err := os.Readlink(alias); err != nil {
				return // not everybody may make one, and Wine makes none
			}
		} else {
			systemtest.Check(w, err)
		}
	case "mount":
		if _, err := os.Stat(w.path); err != nil || !w.mounts {
			return
		}
		systemtest.Check(w, os.WriteFile(alias, nil, 0o644))
		bind(w, w.path, alias)
	case "another relative path":
		alias = filepath.Join("..", "e", "..", "d", "app.sqlite")
	}
	q := start(w, w.folder)
	open, store, end := "open", "", "close"
	if w.follows {
		open, store, end = "follow", w.store, "leave"
	}
	answer := q.do(open, alias, store, "manual")
	if strings.HasPrefix(answer, "ok") {
		if w.when != "closing" && w.when != "in between" && !w.begins {
			w.Errorf("a second process has the file by %s", way)
		}
		q.must(end)
	} else if !strings.Contains(answer, "open elsewhere") {
		w.Errorf("the second process was told %q", answer)
	}
	q.kill()
}

// again opens the database once more, and holds what is there against what has to
// be.
func (w *world) again() {
	w.intact()
	if n := w.prefix(restored(w, w.store)); n < w.flushed {
		w.Errorf("the bucket has %d rows, and the upload of %d was acknowledged", n, w.flushed)
	}
	w.p = start(w, w.folder)
	if answer := w.p.do("open", w.path, w.store, "auto"); !w.note(answer) {
		known := false
		for _, why := range []string{"diverged", "data is damaged", "not the file that DriftDB last had open"} {
			known = known || strings.Contains(answer, why)
		}
		if !known {
			w.Errorf("opened again: %s", answer)
		}
		w.intact()
		w.p.kill()
		w.moveAway()
		w.p = start(w, w.folder)
		w.p.must("open", w.path, w.store, "auto")
	}
	w.hear()
	w.p.must("check")
	n, err := strconv.Atoi(w.p.must("count"))
	systemtest.Check(w, err)
	if n < w.acked && !w.told {
		w.Errorf("%d rows are here, %d were acknowledged, and nobody was told", n, w.acked)
	}
	if n < w.flushed {
		w.Errorf("%d rows are here, the upload of %d was acknowledged", n, w.flushed)
	}
	w.p.must("exec", "INSERT INTO t(v) VALUES('again')")
	w.p.must("flush")
	w.p.end()
	if err := dbtest.Compare(w.path, restored(w, w.store)); err != nil {
		w.Error("at the end: ", err)
	}
}

// moveAway does what an error of Open asks for.
func (w *world) moveAway() {
	systemtest.Check(w, os.Mkdir(filepath.Join(w.dir, "away"), 0o755))
	for _, suffix := range []string{"", "-wal", "-shm", "-journal", "-lock"} {
		if _, err := os.Lstat(w.path + suffix); err == nil {
			systemtest.Check(w, os.Rename(w.path+suffix, filepath.Join(w.dir, "away", "app.sqlite"+suffix)))
		}
	}
}

// prefix returns n if a database has exactly the rows 1 to n: the state after one of
// the commits.
func (w *world) prefix(file string) int {
	n, err := strconv.Atoi(ask(w, file, rows))
	systemtest.Check(w, err)
	if right := ask(w, file, "SELECT count(*) FROM t WHERE id BETWEEN 1 AND (SELECT count(*) FROM t) AND v = 'row ' || id"); right != fmt.Sprint(n) {
		w.Errorf("%s of %d rows are right", right, n)
	}
	return n
}

// intact looks for what belongs to others.
func (w *world) intact() {
	dir := w.folder
	if w.what == "folder renamed" {
		dir += "2"
	}
	for _, name := range []string{"notes.txt", "app.sqlite.bak", "app.sqlite-wal.mine"} {
		if data, err := os.ReadFile(filepath.Join(dir, name)); err != nil || string(data) != name {
			w.Errorf("the user's file %s: %q, %v", name, data, err)
		}
	}
	if w.stranger != nil {
		if data, err := os.ReadFile(w.path); err != nil || string(data) != string(w.stranger) {
			w.Errorf("the stranger's file is changed or gone (%v)", err)
		}
	}
}
