package remote

import (
	"bytes"
	"errors"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/driftdb/driftdb-go/internal/seal"
	"github.com/driftdb/driftdb-go/objstore"
	"github.com/driftdb/driftdb-go/objstore/objstoretest"
)

const olderKey, newerKey = "0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a0a", "0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b0b"

// snapshot stores a snapshot of the history h under key.
func (w *world) snapshot(key, h, content string) Snapshot {
	w.t.Helper()
	s := Snapshot{Sequence: int64(len(h)), Time: 1, Chain: w.chain(h)}
	if err := w.b.PutSnapshot(w.t.Context(), testID, key, strings.NewReader("SQLite format 3\x00"+content), &s); err != nil {
		w.t.Fatal(err)
	}
	return s
}

// rekeyWorld is a bucket under the older key, with a history of two sessions, abcdefgh,
// that goes on with i, and a branch abcdXY.
func rekeyWorld(t *testing.T) (*world, Stored) {
	t.Helper()
	w, ctx := sealedWorld(t, olderKey), t.Context()
	w.put("n", 1, "ab", 1)
	w.put("n", 1, "abcd", 3)
	w.put("n", 1, "abcd", 1) // of the two before
	w.put("n", 1, "abcdX", 5)
	w.put("n", 1, "abcdXY", 6)
	w.put("m", 2, "abcdef", 5)
	w.put("m", 2, "abcdefgh", 7)
	w.put("m", 2, "abcdefghi", 9)
	m := w.manifest("abcdefgh", Span{"n", 1, 1, 4}, Span{"m", 2, 5, 0})
	m.AddSnapshot(w.snapshot(SnapshotKey("app", "m", 4), "abcd", "at 4"))
	m.AddSnapshot(w.snapshot(SnapshotKey("app", "m", 6), "abcdef", "at 6"))
	branch := Batch{NodeID: "n", From: 5, To: 6, Epoch: 1}
	s := w.snapshot(BranchSnapshotKey("app", branch, 7), "abcdXY", "of the branch")
	if err := w.b.PutBranch(ctx, testID, branch, s); err != nil {
		t.Fatal(err)
	}
	stored, err := w.b.Swap(ctx, Stored{}, m)
	if err != nil {
		t.Fatal(err)
	}
	return w, stored
}

// all is what the bucket holds.
func (w *world) all() map[string][]byte {
	w.t.Helper()
	all := map[string][]byte{}
	for info, err := range w.store.List(w.t.Context(), "", objstore.ListOptions{}) {
		if err != nil {
			w.t.Fatal(err)
		}
		all[info.Key] = w.object(info.Key)
	}
	return all
}

// TestRekeyProves: what gets the first key is what the manifest leads to and proves.
// Whatever else somebody who has the older key has laid there stays as it is.
func TestRekeyProves(t *testing.T) {
	for name, c := range map[string]struct {
		lay      func(w *world, m Stored) (key string)
		unneeded bool
	}{
		"nothing":                        {nil, false},
		"a part of another history":      {func(w *world, _ Stored) string { return w.put("n", 1, "aXcd", 2) }, false},
		"a wider part of another":        {func(w *world, _ Stored) string { return w.put("n", 1, "abXdX", 1) }, false},
		"a batch that does not continue": {func(w *world, _ Stored) string { return w.put("m", 2, "abcdefgXYZ", 9) }, false},
		"a branch that leaves nothing":   {func(w *world, _ Stored) string { return w.put("zz", 1, "aQRS", 3) }, false},
		"junk as a batch": {func(w *world, _ Stored) string {
			return w.junk(2, 3, []byte("junkjunkjunk"))
		}, false},
		"a session to come": {func(w *world, _ Stored) string { return w.put("evil", 3, "abcdefghE", 9) }, true},
		"a snapshot that nothing names": {func(w *world, _ Stored) string {
			return w.snapshot(SnapshotKey("app", "n", 99), "abcd", "forged").Key
		}, true},
		"another snapshot of a name": {func(w *world, m Stored) string {
			key := m.Snapshots[0].Key
			if err := w.store.Delete(w.t.Context(), key); err != nil {
				w.t.Fatal(err)
			}
			return w.snapshot(key, "abcd", "forged").Key
		}, false},
		"the manifest as a branch's": {func(w *world, m Stored) string {
			key := branchKey("app", Batch{NodeID: "zz", From: 1, To: 2, Epoch: 1})
			w.replace(key, m.raw)
			return key
		}, false},
		"a text manifest as a branch's": {func(w *world, m Stored) string {
			key := branchKey("app", Batch{NodeID: "zz", From: 1, To: 2, Epoch: 1})
			w.replace(key, withMAC(w.t, m.Manifest, w.b.opts.Ring))
			return key
		}, false},
		"a branch's manifest of a session to come": {func(w *world, _ Stored) string {
			o := Batch{NodeID: "evil", From: 9, To: 9, Epoch: 7}
			s := w.snapshot(BranchSnapshotKey("app", o, 1), "abcdefghE", "forged")
			if err := w.b.PutBranch(w.t.Context(), testID, o, s); err != nil {
				w.t.Fatal(err)
			}
			if err := w.store.Delete(w.t.Context(), s.Key); err != nil {
				w.t.Fatal(err)
			}
			return branchKey("app", o)
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			w, m := rekeyWorld(t)
			var left []string
			if c.lay != nil {
				left = []string{c.lay(w, m)}
			}
			before, ring := w.all(), ringOf(t, newerKey, olderKey)
			both := New(w.store, "app", seal.Options{Ring: ring})
			for again := range 2 {
				res, err := both.Rekey(t.Context(), false, nil)
				if !slices.Equal(Keys(res.Left), left) || (err != nil) != (c.lay != nil && !c.unneeded) {
					t.Fatalf("left %v, %v", res.Left, err)
				}
				if err != nil && !errors.Is(err, ErrCorrupt) {
					t.Error(err)
				}
				if again == 1 && res.Done > 0 {
					t.Errorf("once more: %+v", res)
				}
			}
			for key, data := range w.all() {
				kept := bytes.Equal(before[key], data)
				if slices.Contains(left, key) != kept && !strings.HasSuffix(key, "/probe") {
					t.Errorf("%s: as it was: %v", key, kept)
				}
				if !kept && !strings.HasSuffix(key, "/probe") && !ring.FirstSeals(data) {
					t.Errorf("%s is not under the first key", key)
				}
			}
			w.b = New(w.store, "app", seal.Options{Ring: ringOf(t, newerKey)})
			now, err := w.b.Manifest(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if h, err := w.read(now.Manifest, Target{}); h != "abcdefghi" || err != nil {
				t.Errorf("with the first key alone: %q, %v", h, err)
			}
			own, _, _, err := w.b.Branch(t.Context(), now.Manifest, "n.e1")
			if err != nil {
				t.Fatal(err)
			}
			if h, err := w.read(own, Target{}); h != "abcdXY" || err != nil {
				t.Errorf("the branch, with the first key alone: %q, %v", h, err)
			}
		})
	}
}

// TestRekeyDamaged: where the history is damaged, what is whole before that and behind
// the next snapshot gets the first key.
func TestRekeyDamaged(t *testing.T) {
	w, m := rekeyWorld(t)
	for _, o := range []Batch{{NodeID: "n", From: 1, To: 4, Epoch: 1}, {NodeID: "n", From: 3, To: 4, Epoch: 1}} {
		if err := w.store.Delete(t.Context(), BatchKey("app", o)); err != nil {
			t.Fatal(err)
		}
	}
	hole := BatchKey("app", Batch{NodeID: "m", From: 5, To: 6, Epoch: 2})
	w.damage(hole)
	ring := ringOf(t, newerKey, olderKey)
	res, err := New(w.store, "app", seal.Options{Ring: ring}).Rekey(t.Context(), false, nil)
	if !slices.Equal(Keys(res.Left), []string{hole}) || !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), hole) {
		t.Errorf("%+v, %v", res, err)
	}
	for _, key := range slices.Sorted(maps.Keys(w.all())) {
		if !ring.FirstSeals(w.object(key)) && key != hole && !strings.HasSuffix(key, "/probe") {
			t.Errorf("%s is under the older key", key)
		}
	}
	if _, err := w.b.Swap(t.Context(), m, m.Manifest); !errors.Is(err, seal.ErrKey) {
		t.Errorf("a writer who has the older key only: %v", err)
	}
}

// TestRekeyAfterLeak: the manifest is replaced in any case, and only the one that the
// rekey has read. It takes a new key to replace one that has leaked.
func TestRekeyAfterLeak(t *testing.T) {
	w, m := rekeyWorld(t)
	if _, err := w.b.Rekey(t.Context(), true, nil); !errors.Is(err, seal.ErrKey) {
		t.Errorf("with the leaked key alone: %v", err)
	}
	ring := ringOf(t, newerKey, olderKey)
	var once sync.Once
	meddled := objstoretest.Break(w.store, func(c objstoretest.Call) objstoretest.Fault {
		if c.Op == objstoretest.Put && strings.Contains(c.Key, "/logs/") {
			once.Do(func() { // somebody who has the older key is at it
				if _, err := w.b.Swap(t.Context(), m, m.Manifest); err != nil {
					t.Error(err)
				}
			})
		}
		return objstoretest.Fault{}
	})
	if _, err := New(meddled, "app", seal.Options{Ring: ring}).Rekey(t.Context(), true, nil); !errors.Is(err, ErrLost) {
		t.Errorf("while somebody replaces the manifest: %v", err)
	}
	if ring.FirstSeals(w.object(manifestKey("app"))) {
		t.Error("the first key has sealed a manifest that somebody has laid there meanwhile")
	}
	both := New(w.store, "app", seal.Options{Ring: ring})
	for range 2 { // the second time, only the manifest is replaced
		before := w.object(manifestKey("app"))
		if _, err := both.Rekey(t.Context(), true, nil); err != nil {
			t.Fatal(err)
		}
		if now := w.object(manifestKey("app")); bytes.Equal(now, before) || !ring.FirstSeals(now) {
			t.Error("the manifest was not replaced")
		}
	}
}
