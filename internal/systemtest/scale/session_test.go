package scale_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/systemtest"
	"github.com/driftdb/driftdb-go/objstore"
	"github.com/driftdb/driftdb-go/objstore/objstoretest"
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
	systemtest.Exec(t, db, "CREATE TABLE IF NOT EXISTS notes(id INTEGER PRIMARY KEY, text TEXT)")
	systemtest.Exec(t, db, "INSERT INTO notes(text) VALUES(?)", note)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestShortSessions: a program that writes a note and ends, eight times, and then the
// machine is lost. All of it is in the bucket, in few objects, for few requests.
func TestShortSessions(t *testing.T) {
	store := &ledger{Store: objstore.Mem()}
	cfg := systemtest.Config(t)
	cfg.Store, cfg.ManualSync = store, false
	for i := range 8 {
		store.since()
		shortSession(t, cfg, fmt.Sprint("note ", i))
		requests := store.since()
		if i > 0 && len(requests) > 4 || tally(requests, "GET") != 1 && i > 0 || tally(requests, "PUT") != 2 && i > 0 {
			t.Errorf("session %d: %d requests: %s", i, len(requests), strings.Join(requests, ", "))
		}
		t.Logf("session %d: %d GET, %d LIST, %d PUT, %d DELETE", i, tally(requests, "GET"), tally(requests, "LIST"), tally(requests, "PUT"), tally(requests, "DELETE"))
	}
	if keys := objects(t, store); len(keys) > 4 {
		t.Errorf("%d objects: %q", len(keys), keys)
	}
	if n := notesIn(t, cfg); n != 8 {
		t.Errorf("%d notes are restored", n)
	}
}

func tally(requests []string, what string) (n int) {
	for _, r := range requests {
		if strings.HasPrefix(r, what+" ") {
			n++
		}
	}
	return n
}

// notesIn restores the backup and counts its notes.
func notesIn(t testing.TB, cfg driftdb.Config) int64 {
	t.Helper()
	path := filepath.Join(t.TempDir(), "restored.sqlite")
	_, err := driftdb.Restore(t.Context(), driftdb.RestoreConfig{Name: cfg.Name, Path: path, Store: cfg.Store})
	systemtest.Check(t, err)
	db, err := sql.Open("sqlite", path)
	systemtest.Check(t, err)
	defer db.Close()
	var n int64
	systemtest.Check(t, db.QueryRow("SELECT count(*) FROM notes").Scan(&n))
	return n
}

// unplugged is a store without a network while it is off.
type unplugged struct {
	objstore.Store
	off atomic.Bool
}

func (u *unplugged) err() error {
	if u.off.Load() {
		return &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("network is unreachable")}
	}
	return nil
}

func (u *unplugged) Put(ctx context.Context, key string, body io.Reader, opts objstore.PutOptions) (objstore.Info, error) {
	if err := u.err(); err != nil {
		return objstore.Info{}, err
	}
	return u.Store.Put(ctx, key, body, opts)
}

func (u *unplugged) Get(ctx context.Context, key string, opts objstore.GetOptions) (io.ReadCloser, objstore.Info, error) {
	if err := u.err(); err != nil {
		return nil, objstore.Info{}, err
	}
	return u.Store.Get(ctx, key, opts)
}

func (u *unplugged) List(ctx context.Context, prefix string, opts objstore.ListOptions) iter.Seq2[objstore.Info, error] {
	if err := u.err(); err != nil {
		return func(yield func(objstore.Info, error) bool) { yield(objstore.Info{}, err) }
	}
	return u.Store.List(ctx, prefix, opts)
}

// TestShortSessionsOffline: eight sessions without a network, each of which says what it
// leaves, and one with it, which sends all of it.
func TestShortSessionsOffline(t *testing.T) {
	for _, known := range []bool{false, true} {
		t.Run(fmt.Sprintf("known to the bucket %v", known), func(t *testing.T) {
			store := &unplugged{Store: objstore.Mem()}
			cfg := systemtest.Config(t)
			cfg.Store, cfg.ManualSync = store, false
			want := int64(9)
			if known {
				shortSession(t, cfg, "before")
				want++
			}
			store.off.Store(true)
			for i := range 8 {
				db, err := driftdb.Open(t.Context(), cfg)
				systemtest.Check(t, err)
				systemtest.Exec(t, db, "CREATE TABLE IF NOT EXISTS notes(id INTEGER PRIMARY KEY, text TEXT)")
				systemtest.Exec(t, db, "INSERT INTO notes(text) VALUES(?)", i)
				if err := db.Close(); !errors.Is(err, driftdb.ErrUnsent) || !strings.Contains(err.Error(), fmt.Sprintf("to %d are not", db.Sequence())) {
					t.Errorf("Close without a network: %v", err)
				}
			}
			store.off.Store(false)
			shortSession(t, cfg, "online")
			if n := notesIn(t, cfg); n != want {
				t.Errorf("%d notes are restored, want %d", n, want)
			}
			if keys := objects(t, store); len(keys) > 5 {
				t.Errorf("%d objects: %q", len(keys), keys)
			}
		})
	}
}

// TestManySessions: the bucket and the manifest of many short sessions stay small, and
// the sessions quick.
func TestManySessions(t *testing.T) {
	sessions := systemtest.Setting(t, "DRIFTDB_SESSIONS", 60)
	store := &ledger{Store: objstore.Mem()}
	cfg := systemtest.Config(t)
	cfg.Store, cfg.ManualSync = store, false
	var took []time.Duration
	for i := range sessions {
		began := time.Now()
		shortSession(t, cfg, fmt.Sprintf("note %d: %032x", i, rand.Uint64()))
		took = append(took, time.Since(began))
	}
	keys := objects(t, store)
	manifest := 0
	for info, err := range store.List(t.Context(), "", objstore.ListOptions{}) {
		systemtest.Check(t, err)
		if strings.HasSuffix(info.Key, "/manifest.json") {
			manifest = int(info.Size)
		}
	}
	if len(keys) > 40 || manifest > 8<<10 {
		t.Errorf("%d objects, a manifest of %d bytes", len(keys), manifest)
	}
	if n := notesIn(t, cfg); n != int64(sessions) {
		t.Errorf("%d notes are restored", n)
	}
	early, late := middle(took[5:15]), middle(took[len(took)-10:])
	t.Logf("%d sessions: %d objects, a manifest of %d bytes; the last ones took %.2f of the first ones' time (%s, %s)",
		sessions, len(keys), manifest, float64(late)/float64(early), late, early)
}

func middle(d []time.Duration) time.Duration {
	d = slices.Sorted(slices.Values(d))
	return d[len(d)/2]
}

// hole is a store that accepts requests and never answers.
type hole struct{ objstore.Store }

func (hole) Put(ctx context.Context, _ string, _ io.Reader, _ objstore.PutOptions) (objstore.Info, error) {
	<-ctx.Done()
	return objstore.Info{}, ctx.Err()
}

func (hole) Get(ctx context.Context, _ string, _ objstore.GetOptions) (io.ReadCloser, objstore.Info, error) {
	<-ctx.Done()
	return nil, objstore.Info{}, ctx.Err()
}

func (hole) List(ctx context.Context, _ string, _ objstore.ListOptions) iter.Seq2[objstore.Info, error] {
	return func(yield func(objstore.Info, error) bool) {
		<-ctx.Done()
		yield(objstore.Info{}, ctx.Err())
	}
}

// TestBlackHole: what a network that swallows all packets costs a session, by the
// clock of the test, in which nothing else takes time.
func TestBlackHole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := systemtest.Config(t)
		cfg.ManualSync = false
		shortSession(t, cfg, "while the network is there")
		cfg.Store, cfg.CloseTimeout = hole{cfg.Store}, time.Second
		for i, limit := range []time.Duration{1100 * time.Millisecond, 300 * time.Millisecond, 300 * time.Millisecond} {
			began := time.Now()
			db, err := driftdb.Open(t.Context(), cfg)
			systemtest.Check(t, err)
			opened := time.Since(began)
			for range 100 {
				systemtest.Exec(t, db, "INSERT INTO notes(text) VALUES('x')")
				if _, err := driftdb.Select[int64](t.Context(), db, "SELECT count(*) FROM notes"); err != nil {
					t.Fatal(err)
				}
			}
			used := time.Since(began) - opened
			if err := db.Close(); !errors.Is(err, driftdb.ErrUnsent) {
				t.Errorf("Close: %v", err)
			}
			took := time.Since(began)
			if took > limit || used != 0 || i > 0 && opened != 0 {
				t.Errorf("session %d: Open waited %s, 100 reads and writes %s, all of it %s", i, opened, used, took)
			}
			t.Logf("session %d: Open waited %s, 100 reads and writes %s, all of it %s", i, opened, used, took)
		}
	})
}

// TestRestoreBesideSessions: short sessions replace each other's batches while others
// restore. What a restore finds missing has been replaced, and it goes on with that.
func TestRestoreBesideSessions(t *testing.T) {
	cfg := systemtest.Config(t)
	cfg.ManualSync = false
	shortSession(t, cfg, "the first")
	stop := make(chan bool)
	var writing sync.WaitGroup
	defer writing.Wait()
	defer close(stop)
	writing.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
				shortSession(t, cfg, fmt.Sprint("note ", i))
			}
		}
	})
	// Every request is late, so that sessions come between any two.
	slow := objstoretest.Break(cfg.Store, func(objstoretest.Call) objstoretest.Fault { return objstoretest.Fault{Delay: 2 * time.Millisecond} })
	last := int64(0)
	for range 20 {
		res, err := driftdb.Restore(t.Context(), driftdb.RestoreConfig{Name: cfg.Name, Path: filepath.Join(t.TempDir(), "r.sqlite"), Store: slow})
		if err != nil || res.Sequence < last {
			t.Fatalf("restored to %d after %d: %v", res.Sequence, last, err)
		}
		last = res.Sequence
	}
}

// TestKilledSession: what a session left that did not get to close the database is sent
// by the next one when that begins, however long its interval.
func TestKilledSession(t *testing.T) {
	cfg := systemtest.Config(t)
	cfg.ManualSync = false
	shortSession(t, cfg, "the first")
	killed := cfg
	killed.CloseTimeout, killed.SyncInterval = -1, time.Hour // as if it had been killed
	shortSession(t, killed, "left")
	if n := notesIn(t, cfg); n != 1 {
		t.Fatalf("%d notes are in the bucket before that", n)
	}
	cfg.SyncInterval = time.Hour
	told := systemtest.Listen(&cfg)
	db := systemtest.Open(t, cfg)
	told.Wait(t, driftdb.EventBatchUploaded)
	systemtest.Check(t, db.Close())
	if n := notesIn(t, cfg); n != 2 {
		t.Errorf("%d notes", n)
	}
}

// halfDead is a store that answers when it is asked, and never to what is put there.
type halfDead struct{ hole }

func (h halfDead) Get(ctx context.Context, key string, opts objstore.GetOptions) (io.ReadCloser, objstore.Info, error) {
	return h.Store.Get(ctx, key, opts)
}

func (h halfDead) List(ctx context.Context, prefix string, opts objstore.ListOptions) iter.Seq2[objstore.Info, error] {
	return h.Store.List(ctx, prefix, opts)
}

// TestCloseWhileUploadHangs: Close ends in time while the engine waits for an answer that
// never comes, also when it has something to note in the file.
func TestCloseWhileUploadHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := systemtest.Config(t)
		cfg.ManualSync, cfg.SyncInterval, cfg.CloseTimeout = false, time.Second, time.Second
		shortSession(t, cfg, "while the network is there")
		bucket := cfg.Store
		for _, store := range []objstore.Store{hole{bucket}, halfDead{hole{bucket}}} { // the first one is noted as silent
			cfg.Store = store
			db, err := driftdb.Open(t.Context(), cfg)
			systemtest.Check(t, err)
			systemtest.Exec(t, db, "INSERT INTO notes(text) VALUES('x')")
			time.Sleep(10 * time.Second) // of the bubble: an upload is under way
			began := time.Now()
			if err := db.Close(); !errors.Is(err, driftdb.ErrUnsent) {
				t.Errorf("Close: %v", err)
			}
			if took := time.Since(began); took > 1300*time.Millisecond {
				t.Errorf("Close took %s", took)
			}
		}
	})
}
