package remote

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/driftdb/driftdb-go/internal/batch"
	"github.com/driftdb/driftdb-go/internal/change"
	"github.com/driftdb/driftdb-go/internal/seal"
	"github.com/driftdb/driftdb-go/objstore"
	"github.com/driftdb/driftdb-go/objstore/objstoretest"
)

// sealedWorld is a world whose bucket has a key, or none.
func sealedWorld(t *testing.T, keys ...string) *world {
	t.Helper()
	ring, err := seal.ParseKeys(keys)
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t)
	w.b = New(w.store, "app", seal.Options{Ring: ring})
	return w
}

// junk stores data under the name of a batch of node n, epoch 1.
func (w *world) junk(from, to int64, data []byte) string {
	w.t.Helper()
	key := BatchKey("app", Batch{NodeID: "n", From: from, To: to, Epoch: 1})
	w.replace(key, data)
	return key
}

// TestWalkRefuses: behind the manifest's head, what cannot be used ends the history
// and is told; before it, it is passed over.
func TestWalkRefuses(t *testing.T) {
	for _, keys := range [][]string{nil, {strings.Repeat("07", 32)}} {
		other := sealedWorld(t, strings.Repeat("08", 32))
		foreign := other.object(other.put("n", 1, "abcXY", 4))
		for name, put := range map[string]func(w *world) string{
			"junk":         func(w *world) string { return w.junk(4, 9, []byte("junkjunkjunk")) },
			"nothing":      func(w *world) string { return w.junk(4, 6, nil) },
			"an old batch": func(w *world) string { return w.junk(4, 9, w.object(w.put("n", 1, "ab", 1))) },
			"a cut batch": func(w *world) string {
				key := w.put("n", 1, "abcde", 4)
				w.replace(key, w.object(key)[:40])
				return key
			},
			"another history":    func(w *world) string { return w.put("n", 1, "abXde", 4) },
			"one of another key": func(w *world) string { return w.junk(4, 5, foreign) },
			"another node's":     func(w *world) string { return w.junk(4, 6, w.object(w.put("m", 1, "abcde", 4))) },
			"over all":           func(w *world) string { return w.junk(1, 99, []byte(`{"version":99}`)) },
			"over all, cut": func(w *world) string {
				key := w.put("n", 1, "abcde", 1)
				w.replace(key, w.object(key)[:40])
				return key
			},
			"over the head": func(w *world) string { return w.put("n", 1, "abXYZ", 2) },
		} {
			t.Run(fmt.Sprintf("%s, %d keys", name, len(keys)), func(t *testing.T) {
				w := sealedWorld(t, keys...)
				w.put("n", 1, "a", 1)
				w.put("n", 1, "abc", 2)
				key := put(w)
				m := w.manifest("abc", Span{"n", 1, 1, 0})
				var l letters
				end, err := w.b.Walk(t.Context(), m, Position{Chain: batch.Genesis(testID)}, Target{}, &l)
				if err != nil || string(l.done) != "abc" || end.Position != m.Head() {
					t.Errorf("got %q, %+v, %v", l.done, end, err)
				}
				if len(end.Refused) != 1 || end.Refused[0].Key != key || end.Refused[0].Why == nil {
					t.Errorf("refused %v, want %s", end.Refused, key)
				}
				for n := range int64(3) {
					if got, err := w.read(m, Target{Sequence: n + 1}); err != nil || got != "abc"[:n+1] {
						t.Errorf("to %d: %q, %v", n+1, got, err)
					}
					if found, _, err := w.b.Locate(t.Context(), m, 1_700_000_000_001+n); err != nil || found != n+1 {
						t.Errorf("at the time of %d: %d, %v", n+1, found, err)
					}
				}
				tips, err := w.b.Tips(t.Context(), m)
				if err != nil || tips.Near != m.Head() || tips.Far != m.Head() {
					t.Errorf("tips %+v, %v", tips, err)
				}
				w.readParts(m, "abc", 3)
				w.put("n", 1, "abcd", 4)
				if got, err := w.read(m, Target{}); err != nil || got != "abcd" {
					t.Errorf("with what follows beside it: %q, %v", got, err)
				}
			})
		}
	}
}

// counting counts the bytes that a store hands out, and lengthens bodies if told so.
type counting struct {
	objstore.Store
	handed atomic.Int64
	longer int64
}

func (c *counting) Get(ctx context.Context, key string, opts objstore.GetOptions) (io.ReadCloser, objstore.Info, error) {
	body, info, err := c.Store.Get(ctx, key, opts)
	if err != nil {
		return nil, info, err
	}
	all := io.MultiReader(body, io.LimitReader(zeros{}, c.longer))
	return struct {
		io.Reader
		io.Closer
	}{readFunc(func(p []byte) (int, error) {
		n, err := all.Read(p)
		c.handed.Add(int64(n))
		return n, err
	}), body}, info, nil
}

type readFunc func([]byte) (int, error)

func (f readFunc) Read(p []byte) (int, error) { return f(p) }

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// TestFlood: of a stranger's objects no more is read than shows that they are that.
func TestFlood(t *testing.T) {
	const size, count = 4 << 20, 12
	const sealedPart = 1 << 20 // of an envelope, which is proven as a whole
	for _, keys := range [][]string{nil, {strings.Repeat("07", 32)}} {
		for name, at := range map[string]int64{"over all": 1, "behind the head": 4} {
			w := sealedWorld(t, keys...)
			w.put("n", 1, "abc", 1)
			good := w.object(w.put("m", 1, "a", 1))
			for i := range int64(count) { // with the beginning of a batch, which is another one's
				w.junk(at, 999_999_999_999-i, append(bytes.Clone(good), make([]byte, size)...))
			}
			store := &counting{Store: w.store}
			b := New(store, "app", w.b.opts)
			end, err := b.Walk(t.Context(), w.manifest("abc", Span{"n", 1, 1, 0}), Position{Chain: batch.Genesis(testID)}, Target{}, nil)
			if err != nil || end.Sequence != 3 || len(end.Refused) != count {
				t.Errorf("%s: %d, %d refused, %v", name, end.Sequence, len(end.Refused), err)
			}
			if got := store.handed.Load(); got > 3*count*(sealedPart+(64<<10)) {
				t.Errorf("%s, %d keys: read %d bytes of %d objects", name, len(keys), got, count)
			}
		}
	}
}

// TestListedSize: a body that goes on behind the size that is listed is cut off.
func TestListedSize(t *testing.T) {
	w := newWorld(t)
	w.put("n", 1, "abc", 1)
	store := &counting{Store: w.store, longer: 1 << 30}
	_, err := New(store, "app", seal.Options{}).Walk(t.Context(), w.manifest("abc", Span{"n", 1, 1, 0}), Position{Chain: batch.Genesis(testID)}, Target{}, nil)
	if !errors.Is(err, ErrCorrupt) || store.handed.Load() > 1<<20 {
		t.Errorf("read %d bytes, %v", store.handed.Load(), err)
	}
}

// TestUnread: what cannot be read is passed over where another object has the same.
// Behind the head it may be the history.
func TestUnread(t *testing.T) {
	w := newWorld(t)
	w.put("n", 1, "ab", 1)
	w.put("n", 1, "abc", 3)
	wide, next := w.put("n", 1, "abc", 1), w.put("n", 1, "abcd", 4)
	m := w.manifest("abc", Span{"n", 1, 1, 0})
	fail := func(status int, keys ...string) objstoretest.Hook {
		return func(c objstoretest.Call) objstoretest.Fault {
			for _, key := range keys {
				if c.Op == objstoretest.Get && c.Key == key {
					return objstoretest.Fault{Kind: objstoretest.Fail, Err: objstoretest.Status(status)}
				}
			}
			return objstoretest.Fault{}
		}
	}
	for _, c := range []struct {
		status int
		keys   []string
		want   int64
		fails  bool
	}{
		{403, []string{wide}, 4, false},
		{503, []string{wide}, 4, false},
		{404, []string{wide}, 4, false},
		{503, []string{next}, 3, true},
		{403, []string{next}, 3, true},
		{404, []string{next}, 3, true},
	} {
		end, err := w.breaking(fail(c.status, c.keys...)).Walk(t.Context(), m, Position{Chain: batch.Genesis(testID)}, Target{}, nil)
		if end.Sequence != c.want || (err != nil) != c.fails || errors.Is(err, ErrCorrupt) != (c.fails && c.status == 404) {
			t.Errorf("%d for %s: %d, %v", c.status, c.keys, end.Sequence, err)
		}
	}
}

// TestOverlaps: a clone's batches overlap in every way, and lead nowhere.
func TestOverlaps(t *testing.T) {
	w := newWorld(t)
	right, clone := "a"+strings.Repeat("b", 23), "a"+strings.Repeat("x", 23)
	w.put("n", 1, "a", 1)
	w.put("n", 1, right, 2)
	for from := 2; from <= len(clone); from++ {
		for to := from; to < len(clone); to++ {
			w.put("n", 1, clone[:to], int64(from))
		}
	}
	m := w.manifest(right+"b", Span{"n", 1, 1, 0})
	w.put("n", 1, right+"b", int64(len(right))+1)
	if got, err := w.read(m, Target{}); err != nil || got != right+"b" {
		t.Errorf("got %q, %v", got, err)
	}
	w.readParts(m, right+"b", 12)
}

// TestWalkInterrupted: a walk ends with its context, also within a batch.
func TestWalkInterrupted(t *testing.T) {
	w := newWorld(t)
	w.put("n", 1, strings.Repeat("a", 100), 1)
	ctx, cancel := context.WithCancel(t.Context())
	sink := &stopping{stop: cancel}
	_, err := w.b.Walk(ctx, w.manifest("", Span{"n", 1, 1, 0}), Position{Chain: batch.Genesis(testID)}, Target{}, sink)
	if !errors.Is(err, context.Canceled) || len(sink.batch) > 1 {
		t.Errorf("%d changes, %v", len(sink.batch), err)
	}
}

type stopping struct {
	letters
	stop func()
}

func (s *stopping) Apply(r *batch.Record) error {
	s.stop()
	return s.letters.Apply(r)
}

func (s *stopping) Rollback() error { return nil }

// TestForeignTransaction: that a transaction goes past the target ends a walk only if
// it is the history's.
func TestForeignTransaction(t *testing.T) {
	w := newWorld(t)
	w.put("n", 1, "a", 1)
	name := Batch{NodeID: "n", From: 2, To: 4, Epoch: 1}
	var sealed bytes.Buffer
	s, err := w.b.SealBatch(&sealed, testID, BatchKey("app", name))
	if err != nil {
		t.Fatal(err)
	}
	sw := batch.NewWriter(s, batch.Header{NodeID: "n", Epoch: 1, From: 2, Prev: w.chain("X")})
	err = sw.Begin(2, 1)
	for range 3 {
		err = errors.Join(err, sw.Add(&change.Entry{Op: change.Insert, Table: "t", After: []change.Column{{Name: "v"}}}))
	}
	err = errors.Join(err, sw.End())
	_, cerr := sw.Close()
	if err = errors.Join(err, cerr, s.Close(), w.b.PutBatch(t.Context(), testID, name, sealed.Bytes())); err != nil {
		t.Fatal(err)
	}
	if got, err := w.read(w.manifest("abcd", Span{"n", 1, 1, 0}), Target{Sequence: 3}); !errors.Is(err, ErrCorrupt) {
		t.Errorf("got %q, %v", got, err)
	}
}

// TestPutBatchTaken: what is no batch of the name says nothing of another writer.
func TestPutBatchTaken(t *testing.T) {
	for _, keys := range [][]string{nil, {strings.Repeat("07", 32)}} {
		w := sealedWorld(t, keys...)
		name := Batch{NodeID: "n", From: 4, To: 5, Epoch: 1}
		key := w.put("n", 1, "abcde", 4)
		good, old, short := w.object(key), w.object(w.put("n", 1, "abc", 1)), w.object(w.put("n", 1, "abcd", 4))
		for what, data := range map[string][]byte{
			"junk": []byte("junkjunkjunk"), "nothing": nil, "an old batch": old, "one of another end": short,
			"a part": good[:len(good)-1], "more": append(bytes.Clone(good), 0),
		} {
			w.replace(key, data)
			if err := w.b.PutBatch(t.Context(), testID, name, good); !errors.Is(err, ErrTaken) || errors.Is(err, ErrLost) {
				t.Errorf("%s, %d keys: %v", what, len(keys), err)
			}
		}
	}
}
