package objstore_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/driftdb/driftdb-go/objstore"
)

// heard waits for a channel to tell something, or to be closed.
func heard(t *testing.T, told <-chan struct{}) (open bool) {
	t.Helper()
	select {
	case _, open = <-told:
	case <-time.After(time.Minute):
		t.Fatal("nothing was told within a minute")
	}
	return open
}

type wrapped struct{ objstore.Store }

func (w wrapped) Unwrap() objstore.Store { return w.Store }

// TestWatch: a store tells when an object was stored, also through what wraps it, and stops
// telling when the context ends.
func TestWatch(t *testing.T) {
	for name, open := range map[string]func(*testing.T) objstore.Store{
		"Dir": openDir, "Mem": func(*testing.T) objstore.Store { return objstore.Mem() },
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t)
			put := func(key, body string) {
				t.Helper()
				if _, err := s.Put(t.Context(), key, strings.NewReader(body), objstore.PutOptions{}); err != nil {
					t.Fatal(err)
				}
			}
			put("a/k", "1")
			ctx, stop := context.WithCancel(t.Context())
			told, err := objstore.Watch(ctx, wrapped{s}, "a/k")
			if err != nil {
				t.Fatal(err)
			}
			other, err := objstore.Watch(ctx, s, "a/other")
			if err != nil {
				t.Fatal(err)
			}
			for _, body := range []string{"2", "3"} {
				put("a/k", body)
				heard(t, told)
			}
			put("a/other", "1")
			heard(t, other)
			if err := s.Delete(t.Context(), "a/k"); err != nil {
				t.Fatal(err)
			}
			heard(t, told)
			stop()
			for heard(t, told) {
			}
			for heard(t, other) {
			}
		})
	}
	if _, err := objstore.Watch(t.Context(), wrapped{struct{ objstore.Store }{objstore.Mem()}}, "k"); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("a store that cannot tell: %v", err)
	}
}

// TestWatchFolderGone: when the folder is removed, there is nothing more to tell.
func TestWatchFolderGone(t *testing.T) {
	dir := t.TempDir()
	s, err := objstore.Dir(dir)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := objstore.Watch(t.Context(), s, "a/k"); err == nil {
		t.Error("a folder that does not exist is watched")
	}
	if _, err := s.Put(t.Context(), "a/k", strings.NewReader("1"), objstore.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	told, err := objstore.Watch(t.Context(), s, "a/k")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(dir, "a")); err != nil {
		t.Fatal(err)
	}
	for heard(t, told) {
	}
}
