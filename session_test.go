package driftdb_test

import (
	"context"
	"fmt"
	"io"
	"iter"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	driftdb "github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/objstore"
)

// ledger writes down what is asked of a store.
type ledger struct {
	objstore.Store
	mu  sync.Mutex
	log []string
}

func (l *ledger) note(what, key string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.log = append(l.log, what+" "+key)
}

// since returns what was asked since the last call.
func (l *ledger) since() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := l.log
	l.log = nil
	return out
}

func (l *ledger) Put(ctx context.Context, key string, body io.Reader, opts objstore.PutOptions) (objstore.Info, error) {
	l.note("PUT", key)
	return l.Store.Put(ctx, key, body, opts)
}

func (l *ledger) Get(ctx context.Context, key string, opts objstore.GetOptions) (io.ReadCloser, objstore.Info, error) {
	l.note("GET", key)
	return l.Store.Get(ctx, key, opts)
}

func (l *ledger) List(ctx context.Context, prefix string, opts objstore.ListOptions) iter.Seq2[objstore.Info, error] {
	l.note("LIST", prefix)
	return l.Store.List(ctx, prefix, opts)
}

func (l *ledger) Delete(ctx context.Context, key string) error {
	l.note("DELETE", key)
	return l.Store.Delete(ctx, key)
}

// objects lists the keys of a store.
func objects(t testing.TB, s objstore.Store) (keys []string) {
	t.Helper()
	for info, err := range s.List(t.Context(), "", objstore.ListOptions{}) {
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, info.Key)
	}
	return keys
}

// shortSession opens the database, writes a note, and closes it, as a short program does.
func shortSession(t testing.TB, cfg driftdb.Config, note string) {
	t.Helper()
	db, err := driftdb.Open(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	exec(t, db, "CREATE TABLE IF NOT EXISTS notes(id INTEGER PRIMARY KEY, text TEXT)")
	exec(t, db, "INSERT INTO notes(text) VALUES(?)", note)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

// A program that writes a note and ends, eight times: all of it is in the bucket.
func TestShortSessions(t *testing.T) {
	store := &ledger{Store: objstore.Mem()}
	cfg := config(t)
	cfg.Store, cfg.ManualSync = store, false
	for i := range 8 {
		store.since()
		shortSession(t, cfg, fmt.Sprint("note ", i))
		requests := store.since()
		t.Logf("session %d: %d requests: %s", i, len(requests), strings.Join(requests, ", "))
	}
	for _, key := range objects(t, store) {
		t.Log(key)
	}
	restored := filepath.Join(t.TempDir(), "restored.sqlite")
	if _, err := driftdb.Restore(t.Context(), driftdb.RestoreConfig{Name: cfg.Name, Path: restored, Store: store}); err != nil {
		t.Fatal(err)
	}
	_ = time.Second
}
