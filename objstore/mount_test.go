package objstore_test

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/driftdb/driftdb-go/internal/mounttest"
	"github.com/driftdb/driftdb-go/objstore"
)

// The disk of a store is unmounted and mounted again. The store is the mount
// point itself, or a folder on the disk.
func TestDirMount(t *testing.T) {
	if !mounttest.Inside(t) {
		return
	}
	for _, sub := range []string{".", "backup"} {
		t.Run(sub, func(t *testing.T) {
			disk, point := t.TempDir(), t.TempDir()
			if err := os.MkdirAll(filepath.Join(disk, sub), 0o700); err != nil {
				t.Fatal(err)
			}
			mounttest.Bind(t, disk, point)
			s := openFolder(t, filepath.Join(point, sub))
			put(t, s, "k", "x")
			for range 2 {
				mounttest.Detach(t, point)
				for op, err := range calls(t, s) {
					if !errors.Is(err, objstore.ErrNoBucket) || errors.Is(err, fs.ErrNotExist) {
						t.Errorf("%s without the disk: %v", op, err)
					}
				}
				wantEmpty(t, point)
				mounttest.Bind(t, disk, point)
				if got := read(t, s, "k"); got != "x" {
					t.Errorf("after the disk came back: %q", got)
				}
				put(t, s, "k", "x")
			}
			mounttest.Detach(t, point)
		})
	}
}

// The disk comes and goes while the store is used: nothing lands in the empty
// mount point, whatever a call was about to do.
func TestDirMountRace(t *testing.T) {
	if !mounttest.Inside(t) {
		return
	}
	disk, point := t.TempDir(), t.TempDir()
	mounttest.Bind(t, disk, point)
	var stop atomic.Bool
	var wg sync.WaitGroup
	var stored atomic.Int64
	s := openFolder(t, point)
	for i := range 4 {
		key := "in/a/folder/" + string(rune('a'+i))
		wg.Go(func() {
			for !stop.Load() {
				_, err := s.Put(t.Context(), key, strings.NewReader("x"), objstore.PutOptions{})
				if err == nil {
					stored.Add(1)
					err = s.Delete(t.Context(), key)
				}
				if err != nil && !errors.Is(err, objstore.ErrNoBucket) {
					t.Errorf("neither done nor refused: %v", err)
				}
			}
		})
	}
	for stored.Load() == 0 && !t.Failed() { // the folder has a mark by then
		time.Sleep(time.Millisecond)
	}
	for range 50 {
		mounttest.Detach(t, point)
		mounttest.Bind(t, disk, point)
	}
	stop.Store(true)
	wg.Wait()
	mounttest.Detach(t, point)
	wantEmpty(t, point)
}

// An object that cannot be replaced or deleted for a while, as while it is read
// on some file systems: here, because something is mounted on it.
func TestDirObjectInUse(t *testing.T) {
	if !mounttest.Inside(t) {
		return
	}
	folder := t.TempDir()
	s := openFolder(t, folder)
	put(t, s, "k", "old")
	object := filepath.Join(folder, "k")
	other := filepath.Join(t.TempDir(), "other")
	if err := os.WriteFile(other, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	whileInUse := func(do func() error) error {
		t.Helper()
		mounttest.Bind(t, other, object)
		defer time.AfterFunc(300*time.Millisecond, func() { mounttest.Detach(t, object) }).Stop()
		began := time.Now()
		err := do()
		if took := time.Since(began); took < 300*time.Millisecond {
			t.Errorf("it was not in use: done after %v", took)
		}
		return err
	}
	if err := whileInUse(func() error {
		_, err := s.Put(t.Context(), "k", strings.NewReader("new"), objstore.PutOptions{})
		return err
	}); err != nil {
		t.Errorf("put: %v", err)
	}
	if got := read(t, s, "k"); got != "new" {
		t.Errorf("the object holds %q", got)
	}
	if err := whileInUse(func() error { return s.Delete(t.Context(), "k") }); err != nil {
		t.Errorf("delete: %v", err)
	}
	if _, _, err := s.Get(t.Context(), "k", objstore.GetOptions{}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("get of what was deleted: %v", err)
	}
}

func openFolder(t *testing.T, folder string) objstore.Store {
	t.Helper()
	s, err := objstore.Dir(folder)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func put(t *testing.T, s objstore.Store, key, body string) {
	t.Helper()
	if _, err := s.Put(t.Context(), key, strings.NewReader(body), objstore.PutOptions{}); err != nil {
		t.Error(err)
	}
}

// calls makes each call of a store, and returns their errors.
func calls(t *testing.T, s objstore.Store) map[string]error {
	_, putErr := s.Put(t.Context(), "k", strings.NewReader("y"), objstore.PutOptions{})
	body, _, getErr := s.Get(t.Context(), "k", objstore.GetOptions{})
	if getErr == nil {
		_, getErr = io.Copy(io.Discard, body)
		_ = body.Close()
	}
	var listErr error
	for _, err := range s.List(t.Context(), "", objstore.ListOptions{}) {
		listErr = err
	}
	return map[string]error{"put": putErr, "get": getErr, "list": listErr, "delete": s.Delete(t.Context(), "k")}
}

func wantEmpty(t *testing.T, folder string) {
	t.Helper()
	if entries, err := os.ReadDir(folder); err != nil || len(entries) > 0 {
		t.Errorf("the empty mount point has %v, %v", entries, err)
	}
}
