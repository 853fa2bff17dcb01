package inspect

import (
	"context"
	"errors"
	"io"
	"maps"
	"math"
	"net/http/httptest"
	"os/exec"
	"reflect"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/systemtest"
	"github.com/driftdb/driftdb-go/objstore"
)

// TestShellWord: a shell takes each word as it is, whatever it has in it.
func TestShellWord(t *testing.T) {
	bash, err := exec.LookPath("bash")
	if err != nil || runtime.GOOS == "windows" {
		t.Skip("there is no bash that takes arguments as they are")
	}
	for _, word := range append(append([]string{}, systemtest.Hostile...), "", "plain", "it's", "a\\b", "-x", "~", "*", "a b", "ü", systemtest.HostileTable) {
		word = strings.ReplaceAll(word, "\x00", "") // no argument has one
		out, err := exec.CommandContext(t.Context(), bash, "-c", "printf %s "+shellWord(word)).Output()
		if word == "" {
			out, err = exec.CommandContext(t.Context(), bash, "-c", "set -- "+shellWord(word)+"; printf %s \"$#\" | tr -d 1").Output()
		}
		if err != nil || string(out) != word {
			t.Errorf("%q is %q, %v, as %s", word, out, err, shellWord(word))
		}
		for _, r := range shellWord(word) {
			if !visible(r) {
				t.Errorf("%q hides %U", word, r)
			}
		}
	}
}

// TestKeys: a key in an address is the same key again, with its types.
func TestKeys(t *testing.T) {
	for _, key := range []map[string]any{
		{"id": int64(math.MaxInt64)}, {"id": int64(-1)}, {"a": "x", "b": nil}, {"k": "\xff\x00"}, {"k": []byte{0, 255}}, {"k": 1.5}, {"k": 1.0}, {"k": math.Inf(-1)},
		{"k": "'"}, {`{"$blob":"x"}`: "{"}, {"rowid": int64(7)},
	} {
		again, err := decodeKey(encodeKey(key))
		if err != nil || !reflect.DeepEqual(key, again) {
			t.Errorf("%#v is %#v: %v", key, again, err)
		}
	}
	if encodeKey(map[string]any{"k": strings.Repeat("x", maxKey)}) != "" || encodeKey(nil) != "" {
		t.Error("a long key, or none, has an address")
	}
	for _, bad := range []string{"{", "{}x", `{"k":1.5}`, `{"k":[1]}`, `{"k":{"$blob":"%"}}`, `{"k":{"$int":"1"}}`, `{"k":true}`, `{"k":99999999999999999999}`} {
		if key, err := decodeKey(bad); err == nil {
			t.Errorf("%s is %v", bad, key)
		}
	}
	for text, want := range map[string]map[string]any{
		"5": {"id": int64(5)}, "id=5": {"id": int64(5)}, "'5'": {"id": "5"}, "x": {"id": "x"}, "x=y": {"id": "x=y"}, "'it''s'": {"id": "it's"},
	} {
		if key, err := parseKey(text, map[string]any{"id": int64(1)}); err != nil || !maps.Equal(key, want) {
			t.Errorf("%s: %v, %v", text, key, err)
		}
	}
	if key, err := parseKey("n=2, day=x", map[string]any{"day": "", "n": int64(1)}); err != nil || !maps.Equal(key, map[string]any{"day": "x", "n": int64(2)}) {
		t.Errorf("two columns: %v, %v", key, err)
	}
}

// TestDiffering: what is marked is what differs, and never a part of a character.
func TestDiffering(t *testing.T) {
	for _, c := range []struct{ x, y, want string }{
		{"the back door", "the side door", "the [back|side] door"}, {"é", "è", "é|è"}, {"aé", "aè", "a[é|è]"}, {"1", "12", "1[|2]"}, {"", "x", "|x"},
		{"aXa", "aXaXa", "aXa[|Xa]"}, {"日本", "日木", "日[本|木]"},
	} {
		x, y := differing(c.x, c.y, 100)
		shape := func(v value) (head, mark, tail string) {
			for _, p := range v.Pieces {
				switch {
				case p.Mark:
					mark += p.Text
				case mark == "":
					head += p.Text
				default:
					tail += p.Text
				}
			}
			return
		}
		h, m, _ := shape(x)
		_, n, tail := shape(y)
		got := h + "[" + m + "|" + n + "]" + tail
		if h == "" && m == "" || n == "" && m == "" {
			got = c.x + "|" + c.y
		}
		if m == "" && n != "" {
			got = strings.TrimSuffix(h, tail) + "[|" + n + "]" + tail
		}
		if got != c.want {
			t.Errorf("%q and %q: %s, want %s", c.x, c.y, got, c.want)
		}
	}
}

// backup is one of a few changes.
func backup(t *testing.T) *driftdb.Backup {
	cfg := systemtest.Config(t)
	db := systemtest.Open(t, cfg)
	systemtest.Some(t, db, "t", 9)
	systemtest.Check(t, db.Flush(t.Context()))
	b, err := driftdb.OpenBackup(t.Context(), driftdb.BackupConfig{Name: cfg.Name, Store: cfg.Store})
	systemtest.Check(t, err)
	return b
}

// opened opens a state as a page does that asks again.
func opened(ctx context.Context, p *past, b *driftdb.Backup, key pastKey) (*driftdb.DB, func(), error) {
	for {
		db, done, err := p.open(ctx, b, key)
		if !errors.Is(err, errRestoring) {
			return db, done, err
		}
	}
}

// TestLargeRestore: a large restore waits for a person to agree.
func TestLargeRestore(t *testing.T) {
	cfg := systemtest.Config(t)
	db := systemtest.Open(t, cfg)
	systemtest.Some(t, db, "t", 9)
	systemtest.Must(db.Snapshot(t.Context()))
	h, err := Store(driftdb.BackupConfig{Store: cfg.Store}, Options{Hosts: []string{"example.com"}})
	systemtest.Check(t, err)
	defer h.Close()
	h.past.ask = 10
	get := func(path string) *httptest.ResponseRecorder {
		w := httptest.NewRecorder()
		for h.ServeHTTP(w, httptest.NewRequest("GET", path, nil)); w.Header().Get("Refresh") != ""; h.ServeHTTP(w, httptest.NewRequest("GET", path, nil)) {
			w = httptest.NewRecorder()
		}
		return w
	}
	if w := get("/b/app/table?table=t&at=5"); w.Code != 428 || !strings.Contains(w.Body.String(), `href="/b/app/table?at=5&amp;sure=yes&amp;table=t"`) || h.past.has(pastKey{"app", 5}) {
		t.Errorf("a large restore: %d %s", w.Code, w.Body)
	}
	if w := get("/b/app/table?at=5&sure=yes&table=t"); w.Code != 200 {
		t.Errorf("once agreed: %d %s", w.Code, w.Body)
	}
	if w := get("/b/app/table?at=5&table=t&skip=1"); w.Code != 200 {
		t.Errorf("when it is there: %d %s", w.Code, w.Body)
	}
}

// TestPastTogether: many pages look at few states at the same time; no state is deleted
// while a page reads it, and none is left at the end.
func TestPastTogether(t *testing.T) {
	b, p := backup(t), newPast()
	var all sync.WaitGroup
	for i := range 40 {
		all.Go(func() {
			key := pastKey{"app", int64(4 + i%5)}
			db, done, err := opened(t.Context(), p, b, key)
			if errors.Is(err, errPastFull) {
				return
			}
			if err != nil {
				t.Error(err)
				return
			}
			defer done()
			n, err := driftdb.Select[int64](t.Context(), db, "SELECT count(*) FROM t")
			if err != nil || n[0] != key.sequence-1 {
				t.Errorf("after change %d: %v rows, %v", key.sequence, n, err)
			}
		})
	}
	all.Wait()
	if len(p.views) > pastViews {
		t.Errorf("%d states are kept", len(p.views))
	}
	systemtest.Check(t, p.close())
	if len(p.views) != 0 {
		t.Errorf("%d states are left", len(p.views))
	}
	if _, _, err := p.open(t.Context(), b, pastKey{"app", 4}); !errors.Is(err, errPastEnded) {
		t.Errorf("after the end: %v", err)
	}
}

// TestPastRoom: there is room for a new state if one of the others is not looked at, and it
// is never taken from one that is.
func TestPastRoom(t *testing.T) {
	b, p := backup(t), newPast()
	defer p.close()
	held, release, err := opened(t.Context(), p, b, pastKey{"app", 3})
	systemtest.Check(t, err)
	for sequence := int64(4); sequence < 9; sequence++ {
		_, done, err := opened(t.Context(), p, b, pastKey{"app", sequence})
		systemtest.Check(t, err)
		done()
	}
	if n, err := driftdb.Select[int64](t.Context(), held, "SELECT count(*) FROM t"); err != nil || n[0] != 2 {
		t.Errorf("the state that is looked at: %v, %v", n, err)
	}
	var all []func()
	for sequence := int64(4); len(all) < pastViews-1; sequence++ {
		_, done, err := opened(t.Context(), p, b, pastKey{"app", sequence})
		systemtest.Check(t, err)
		all = append(all, done)
	}
	if _, _, err := opened(t.Context(), p, b, pastKey{"app", 9}); !errors.Is(err, errPastFull) {
		t.Errorf("all states are looked at, and another one: %v", err)
	}
	for _, done := range append(all, release) {
		done()
	}
}

// TestPastIdle: a state that nobody looks at goes after a while, and one that is looked at
// stays.
func TestPastIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, p := backup(t), newPast()
		defer p.close()
		db, done, err := opened(t.Context(), p, b, pastKey{"app", 5})
		systemtest.Check(t, err)
		time.Sleep(2 * pastIdle)
		if _, err := driftdb.Select[int64](t.Context(), db, "SELECT count(*) FROM t"); err != nil {
			t.Errorf("a state that is being looked at: %v", err)
		}
		done()
		time.Sleep(pastIdle - time.Second)
		again, done, err := opened(t.Context(), p, b, pastKey{"app", 5})
		systemtest.Check(t, err)
		if again != db {
			t.Error("it was restored again")
		}
		time.Sleep(2 * time.Second)
		done()
		time.Sleep(pastIdle + time.Second)
		synctest.Wait()
		p.mu.Lock()
		defer p.mu.Unlock()
		if len(p.views) != 0 {
			t.Error("a state that nobody looks at is still there")
		}
	})
}

// stuck is a store that does not answer from some time on.
type stuck struct {
	objstore.Store
	mu   sync.Mutex
	hold bool
}

func (s *stuck) Get(ctx context.Context, key string, o objstore.GetOptions) (io.ReadCloser, objstore.Info, error) {
	s.mu.Lock()
	hold := s.hold
	s.mu.Unlock()
	if hold && strings.Contains(key, "/logs/") {
		<-ctx.Done()
		return nil, objstore.Info{}, ctx.Err()
	}
	return s.Store.Get(ctx, key, o)
}

// TestPastFails: a restore that cannot end says so to the pages as they ask again; when the
// handler is closed it ends; and a failure is told once, and then tried again.
func TestPastFails(t *testing.T) {
	cfg := systemtest.Config(t)
	store := &stuck{Store: cfg.Store}
	db := systemtest.Open(t, cfg)
	systemtest.Some(t, db, "t", 9)
	systemtest.Check(t, db.Flush(t.Context()))
	b, err := driftdb.OpenBackup(t.Context(), driftdb.BackupConfig{Name: cfg.Name, Store: store})
	systemtest.Check(t, err)
	p := newPast()
	for range 2 {
		if _, _, err := opened(t.Context(), p, b, pastKey{"app", 99}); !errors.Is(err, driftdb.ErrNoBackup) {
			t.Errorf("a state that is not there: %v", err)
		}
		if len(p.views) != 0 {
			t.Error("a failure is kept after it was told")
		}
	}
	store.mu.Lock()
	store.hold = true
	store.mu.Unlock()
	if _, _, err := p.open(t.Context(), b, pastKey{"app", 5}); !errors.Is(err, errRestoring) {
		t.Errorf("a restore that hangs: %v", err)
	}
	systemtest.Within(t, "close", func() { systemtest.Check(t, p.close()) })
	if len(p.views) != 0 {
		t.Error("a restore that was given up is kept")
	}
}
