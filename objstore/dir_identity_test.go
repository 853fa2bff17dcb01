package objstore

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// calls makes each call of a store, and returns their errors.
func calls(t *testing.T, s Store, key string) map[string]error {
	t.Helper()
	_, getErr := get(t, s, key)
	var listErr error
	for _, err := range s.List(t.Context(), "", ListOptions{}) {
		listErr = err
	}
	return map[string]error{"get": getErr, "list": listErr, "put": put(t, s, key, "x"), "delete": s.Delete(t.Context(), key)}
}

// wantReplaced checks that every call sees another folder, says how, and
// leaves nothing in it.
func wantReplaced(t *testing.T, d *dir, how string) {
	t.Helper()
	before := files(t, d.path)
	for op, err := range calls(t, d, "k") {
		if !errors.Is(err, ErrFolderReplaced) || !errors.Is(err, ErrNoBucket) || errors.Is(err, fs.ErrNotExist) ||
			!strings.Contains(err.Error(), how) || !strings.Contains(err.Error(), d.path) || !strings.Contains(err.Error(), "mounted?") {
			t.Errorf("%s in another folder: %v", op, err)
		}
	}
	if after := files(t, d.path); after != before {
		t.Errorf("the other folder held %q, and now %q", before, after)
	}
}

// files are the names of all that is below a folder.
func files(t *testing.T, folder string) string {
	t.Helper()
	var names []string
	err := filepath.WalkDir(folder, func(name string, _ fs.DirEntry, err error) error {
		names = append(names, strings.TrimPrefix(name, folder))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(names, " ")
}

func rename(t *testing.T, from, to string) {
	t.Helper()
	if err := os.Rename(from, to); err != nil {
		t.Fatal(err)
	}
}

func mkdir(t *testing.T, folder string) {
	t.Helper()
	if err := os.MkdirAll(folder, 0o700); err != nil {
		t.Fatal(err)
	}
}

func mark(t *testing.T, folder string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(folder, filepath.FromSlash(markFile)))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestDirReplaced(t *testing.T) {
	d := newDir(t)
	mustPut(t, d, "k", "x")
	if mark(t, d.path) == mark(t, markedDir(t)) {
		t.Error("two folders have the same mark")
	}
	away := d.path + ".away"
	rename(t, d.path, away)
	mkdir(t, d.path)
	wantReplaced(t, d, "its mark .objstore/id is missing")

	rename(t, d.path, d.path+".empty")
	rename(t, markedDir(t), d.path)
	wantReplaced(t, d, "it has another mark")

	// The same mark is the same folder, whatever its inode: the disk was
	// mounted anew.
	rename(t, d.path, d.path+".other")
	if err := os.CopyFS(d.path, os.DirFS(away)); err != nil {
		t.Fatal(err)
	}
	if got, err := get(t, d, "k"); err != nil || got != "x" {
		t.Errorf("after the folder came back: %q, %v", got, err)
	}
	for op, err := range calls(t, d, "k") {
		if err != nil {
			t.Errorf("%s after the folder came back: %v", op, err)
		}
	}
}

// markedDir is a folder with a mark of its own.
func markedDir(t *testing.T) string {
	other := newDir(t)
	mustPut(t, other, "k", "other")
	return other.path
}

// A new folder has no mark yet, and is replaced before the first Put.
func TestDirReplacedBeforeMarked(t *testing.T) {
	d := newDir(t)
	rename(t, d.path, d.path+".away")
	mkdir(t, d.path)
	wantReplaced(t, d, "another device or inode")
	rename(t, d.path, d.path+".empty")
	rename(t, markedDir(t), d.path)
	wantReplaced(t, d, "another device or inode")
	rename(t, d.path, d.path+".other")
	rename(t, d.path+".away", d.path)
	mustPut(t, d, "k", "x")
	mark(t, d.path)
}

// A folder of a time before marks gets one at the next Put, and stores that
// have been opened before know it by that, too.
func TestDirOldFolder(t *testing.T) {
	d := newDir(t)
	mustPut(t, d, "k", "x")
	if err := os.RemoveAll(d.file(privateDir)); err != nil {
		t.Fatal(err)
	}
	var stores [2]Store
	for i := range stores {
		var err error
		if stores[i], err = Dir(d.path); err != nil {
			t.Fatal(err)
		}
		if got, err := get(t, stores[i], "k"); err != nil || got != "x" {
			t.Errorf("get: %q, %v", got, err)
		}
	}
	wantReplaced(t, d, "is missing") // it has seen the mark
	mustPut(t, stores[0], "k", "y")
	first := mark(t, d.path)
	mustPut(t, stores[1], "k", "z")
	if now := mark(t, d.path); now != first {
		t.Errorf("the mark was %q and is %q", first, now)
	}
	rename(t, d.path, d.path+".away")
	mkdir(t, d.path)
	for _, s := range stores {
		wantReplaced(t, s.(*dir), "is missing")
	}
}

// A file that has lost what was in it is no mark, and not taken for one.
func TestDirEmptyMark(t *testing.T) {
	d := newDir(t)
	mkdir(t, d.file(privateDir))
	if err := os.WriteFile(d.file(markFile), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := put(t, d, "k", "x"); err == nil || !strings.Contains(err.Error(), "delete it") {
		t.Errorf("put: %v", err)
	}
	if err := os.Remove(d.file(markFile)); err != nil {
		t.Fatal(err)
	}
	mustPut(t, d, "k", "x")
}

// Many stores mark a new folder at once, and all know it by the same mark.
func TestDirMarkRace(t *testing.T) {
	folder := t.TempDir()
	var stores []Store
	for range 16 {
		s, err := Dir(folder)
		if err != nil {
			t.Fatal(err)
		}
		stores = append(stores, s)
	}
	var wg sync.WaitGroup
	for i, s := range stores {
		for _, key := range []string{"a", "b"} {
			wg.Go(func() { mustPutAs(t, s, key, i) })
		}
	}
	wg.Wait()
	for i, s := range stores {
		mustPutAs(t, s, "after", i)
	}
}

func mustPutAs(t *testing.T, s Store, key string, i int) {
	if err := put(t, s, key+string(rune('a'+i)), "x"); err != nil {
		t.Error(err)
	}
}

// A call that has found no mark, and ends after another has made one, is in the
// right folder all the same.
func TestDirMarkedInTheMiddle(t *testing.T) {
	for range 50 {
		d := newDir(t)
		var wg sync.WaitGroup
		var marked atomic.Bool
		for range 4 {
			wg.Go(func() {
				for !marked.Load() {
					if _, err := get(t, d, "none"); !errors.Is(err, fs.ErrNotExist) {
						t.Errorf("get: %v", err)
						return
					}
				}
			})
		}
		mustPut(t, d, "k", "x")
		marked.Store(true)
		wg.Wait()
	}
}

// The folder changes places with an empty one all the time, while it is
// written to: whatever a call was about to do, nothing lands in the empty one.
func TestDirReplacedInTheMiddle(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("a folder that is open cannot be renamed on Windows")
	}
	d := newDir(t)
	empty, away := d.path+".empty", d.path+".away"
	mkdir(t, empty)
	var stop atomic.Bool
	var wg sync.WaitGroup
	var done atomic.Int64
	for i := range 4 {
		key := "in/a/folder/" + string(rune('a'+i))
		wg.Go(func() {
			for !stop.Load() {
				err := put(t, d, key, "x")
				if err == nil {
					err = d.Delete(t.Context(), key)
				}
				if err == nil {
					done.Add(1)
				} else if !errors.Is(err, ErrNoBucket) {
					t.Errorf("neither done nor refused: %v", err)
				}
			}
		})
	}
	for round := 0; (round < 200 || done.Load() < 100) && !t.Failed(); round++ {
		for _, move := range [][2]string{{d.path, away}, {empty, d.path}, {d.path, empty}, {away, d.path}} {
			rename(t, move[0], move[1])
			runtime.Gosched()
		}
	}
	stop.Store(true)
	wg.Wait()
	if left := files(t, empty); left != "" {
		t.Errorf("the empty folder has %q", left)
	}
}
