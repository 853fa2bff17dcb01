package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/driftdb/driftdb-go/internal/seal"
	"github.com/driftdb/driftdb-go/objstore"
)

// parent stores the history h in batches of one change, confirmed up to head.
func (w *world) parent(h string, head int) Stored {
	w.t.Helper()
	for i := range h {
		w.put("n", 1, h[:i+1], int64(i+1))
	}
	m := &Manifest{Name: "app", DatabaseID: testID}
	m.Takeover("n", Position{Chain: w.chain("")})
	m.LatestSequence, m.ChainHead = int64(head), w.chain(h[:head])
	stored, err := w.b.Swap(w.t.Context(), Stored{}, m)
	if err != nil {
		w.t.Fatal(err)
	}
	return stored
}

// TestForkConfirmed: a fork begins with what the manifest confirms, and nothing later.
func TestForkConfirmed(t *testing.T) {
	w := newWorld(t)
	w.parent("abcd", 3)
	f, err := w.b.Fork(t.Context(), "fork", ForkPoint{})
	if err != nil || f.LatestSequence != 3 || f.ChainHead != w.chain("abc") {
		t.Fatalf("%+v, %v", f.Manifest, err)
	}
	for _, to := range []ForkPoint{{Sequence: 4}, {Time: 1_700_000_000_004}} {
		if _, err := w.b.Fork(t.Context(), "later", to); !errors.Is(err, ErrNoFork) || !strings.Contains(err.Error(), "up to 3") {
			t.Errorf("%+v: %v", to, err)
		}
	}
	f, err = w.b.Fork(t.Context(), "timed", ForkPoint{Time: 1_700_000_000_002})
	if err != nil || f.LatestSequence != 2 {
		t.Errorf("at a time: %+v, %v", f.Manifest, err)
	}
	if _, err := w.b.Fork(t.Context(), "early", ForkPoint{Time: 1}); !errors.Is(err, ErrTooOld) {
		t.Errorf("before the first change: %v", err)
	}
}

// failing is a store that fails from some Put on, or hears of each request.
type failing struct {
	objstore.Store
	left int // Puts until it fails; negative: never
	list func(prefix string)

	mu sync.Mutex // guards left: a probe stores several objects at a time
}

func (s *failing) Put(ctx context.Context, key string, body io.Reader, opts objstore.PutOptions) (objstore.Info, error) {
	s.mu.Lock()
	gone := s.left == 0
	if !gone {
		s.left--
	}
	s.mu.Unlock()
	if gone {
		return objstore.Info{}, errors.New("the store is gone")
	}
	return s.Store.Put(ctx, key, body, opts)
}

func (s *failing) List(ctx context.Context, prefix string, opts objstore.ListOptions) iter.Seq2[objstore.Info, error] {
	if s.list != nil {
		s.list(prefix)
	}
	return s.Store.List(ctx, prefix, opts)
}

// TestForkDies: whichever request a fork dies at, the parent goes on, the name can be used
// for another fork or freed, and a collection a day later holds nothing for it.
func TestForkDies(t *testing.T) {
	for n := 0; ; n++ {
		w := newWorld(t)
		m := w.parent("abcd", 4)
		if err := w.b.Probe(t.Context(), "n", testID); err != nil {
			t.Fatal(err)
		}
		store := &failing{Store: w.store, left: n + 1} // the probe comes first
		_, err := New(store, "app", seal.Options{}).Fork(t.Context(), "fork", ForkPoint{Sequence: 3})
		if err == nil {
			if n < 3 {
				t.Errorf("a fork takes only %d Puts", n)
			}
			return
		}
		held, err := w.b.Held(t.Context(), testID, m.Now().Add(25*time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		if err := w.b.GiveUp(t.Context(), held); err != nil {
			t.Fatal(err)
		}
		held, err = w.b.Held(t.Context(), testID, m.Now())
		if err != nil || held.Unclear != nil || len(held.Forks) > 0 || len(held.dead) > 0 {
			t.Errorf("death at Put %d: %+v, %v", n, held, err)
		}
		if _, err := w.b.Fork(t.Context(), "fork", ForkPoint{Sequence: 2}); err != nil {
			t.Errorf("death at Put %d: the next fork: %v", n, err)
		}
	}
}

// TestForkTaken: of two forks with one name, the one that began later wins, and the other
// leaves nothing.
func TestForkTaken(t *testing.T) {
	w := newWorld(t)
	w.parent("abcd", 4)
	var second Stored
	var err error
	store := &failing{Store: w.store, left: -1}
	once := false
	store.list = func(prefix string) {
		if strings.Contains(prefix, "app/nodes/n/logs") && !once { // the first fork is reading
			once = true
			second, err = w.b.Fork(t.Context(), "fork", ForkPoint{Sequence: 2})
		}
	}
	if _, first := New(store, "app", seal.Options{}).Fork(t.Context(), "fork", ForkPoint{Sequence: 3}); first == nil || err != nil {
		t.Fatalf("the first: %v; the second: %v", first, err)
	}
	m, err := w.b.Sibling("fork").Manifest(t.Context())
	if err != nil || m.DatabaseID != second.DatabaseID || m.LatestSequence != 2 {
		t.Errorf("%+v, %v", m.Manifest, err)
	}
}

// TestHeldAgain: a collection that has listed the pins sees those of a fork of a fork that
// began before it read the fork's manifest.
func TestHeldAgain(t *testing.T) {
	w := newWorld(t)
	w.parent("abcd", 4)
	if _, err := w.b.Fork(t.Context(), "fork", ForkPoint{Sequence: 3}); err != nil {
		t.Fatal(err)
	}
	lists := 0
	store := &failing{Store: w.store, left: -1}
	store.list = func(prefix string) {
		if prefix != pinsFolder+"app/" {
			return
		}
		if lists++; lists == 2 { // after the manifests were read
			if err := w.b.pin(t.Context(), "app", "grandchild", "some id"); err != nil {
				t.Error(err)
			}
		}
	}
	if _, err := New(store, "app", seal.Options{}).Held(t.Context(), testID, time.Time{}); err != nil || lists != 3 {
		t.Errorf("%d lists, %v", lists, err)
	}
}

// TestPruneOrigins: what a prune drops, readers of the manifest before still find; an origin
// is dropped only once nobody can need anything of it.
func TestPruneOrigins(t *testing.T) {
	day := time.Date(2040, 1, 1, 0, 0, 0, 0, time.UTC)
	base, own := SnapshotKey("p", "n", 1), SnapshotKey("f", "m", 2)
	m := &Manifest{
		Name: "f", DatabaseID: "f", LatestSequence: 9, Parent: &Parent{"p", "p", 6, "p"}, Origins: []Origin{{Name: "p", DatabaseID: "p", To: 6}},
		Lineage:   []Span{{"n", 1, 1, 6}, {"m", 2, 7, 0}},
		Snapshots: []Snapshot{{Key: base, Sequence: 4, Stored: day.UnixMilli()}},
		Clock:     Clock{At: day.UnixMilli(), Latest: day.UnixMilli()},
	}
	p := home{"p", "p"}
	old, used := object{kind: batchObject, batch: Batch{NodeID: "n", From: 5, To: 6, Epoch: 1}}, object{kind: snapshotObject}
	used.Key = base
	holds := func(what string, wantBatch, wantSnapshot, wantSpent bool) {
		t.Helper()
		h := Held{}
		spent := true
		if len(m.Origins) > 0 {
			if m.Origins[0].home() != p {
				t.Fatalf("%+v", m.Origins)
			}
			spent = m.spent(m.Origins[0])
			h.needs = append(h.needs, need{m, m.Origins[0]})
		}
		if spent {
			h = Held{}
		}
		if got := fmt.Sprint(h.has(old), h.has(used), spent); got != fmt.Sprint(wantBatch, wantSnapshot, wantSpent) {
			t.Errorf("%s: batch, snapshot held, spent: %s", what, got)
		}
	}
	holds("at first", true, true, false)
	m.Snapshots = append(m.Snapshots, Snapshot{Key: own, Sequence: 8, Stored: day.Add(time.Hour).UnixMilli()})
	holds("with a snapshot", true, true, false)
	for i := 2; i < 7; i++ {
		m.Prune(day.Add(time.Duration(i)*48*time.Hour), time.Hour)
		if len(m.Snapshots) == 1 && m.Snapshots[0].Key == own && m.Origins[0].Snapshots != nil {
			holds("just pruned", true, true, false)
			m.Prune(day.Add(time.Duration(i+1)*48*time.Hour), time.Hour)
			holds("pruned twice", false, false, true)
			if len(m.Origins) != 1 {
				t.Error("the origin was dropped before a collection could see that it is spent")
			}
			m.Prune(day.Add(time.Duration(i+2)*48*time.Hour), time.Hour)
			if len(m.Origins) != 0 {
				t.Errorf("the origin stays: %+v", m.Origins)
			}
			return
		}
	}
	t.Errorf("nothing was pruned: %+v", m)
}

// TestVacancy: a deleted backup cannot be repaired, nor replaced by its writer; a new one
// takes its place.
func TestVacancy(t *testing.T) {
	w := newWorld(t)
	m := w.parent("ab", 2)
	if _, err := w.b.DeleteAll(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := w.b.Swap(t.Context(), m, m.Manifest); !errors.Is(err, ErrLost) || !errors.Is(err, ErrDeleted) {
		t.Errorf("its writer: %v", err)
	}
	if _, err := w.b.Lost(t.Context()); !errors.Is(err, ErrDeleted) {
		t.Errorf("a repair: %v", err)
	}
	if _, err := w.b.DeleteAll(t.Context()); err != nil {
		t.Errorf("a second deletion: %v", err)
	}
	if next := w.parent("xy", 2); next.Epoch <= m.Epoch+ahead || next.Lineage[0].Epoch != next.Epoch {
		t.Errorf("the new backup begins in epoch %d after %d: %+v", next.Epoch, m.Epoch, next.Lineage)
	}
	if d, err := w.b.Sweep(t.Context()); err != nil || d.Objects > 0 {
		t.Errorf("a sweep of a new backup: %+v, %v", d, err)
	}
	if _, err := w.b.Sibling("none").DeleteAll(t.Context()); !errors.Is(err, ErrNoBackup) {
		t.Errorf("nothing: %v", err)
	}
}
