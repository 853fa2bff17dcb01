package remote

import (
	"bytes"
	"errors"
	"testing"

	"github.com/driftdb/driftdb-go/internal/batch"
	"github.com/driftdb/driftdb-go/internal/seal"
	"github.com/driftdb/driftdb-go/objstore/objstoretest"
)

// TestContinues: whose copy of which point the history goes on from.
func TestContinues(t *testing.T) {
	w := newWorld(t)
	w.put("n", 1, "abc", 1)
	w.put("n", 1, "abcde", 4)
	w.put("m", 2, "abcdEFG", 5) // takes over after 4
	m := w.manifest("abcd", Span{"n", 1, 1, 4}, Span{"m", 2, 5, 0})
	at := func(h string) Position { return Position{Sequence: int64(len(h)), Chain: w.chain(h)} }
	for h, want := range map[string]bool{
		"": true, "a": true, "abc": true, "abcd": true, "abcdE": true, "abcdEF": true,
		"x": false, "abX": false, "abcX": false, "abcde": false, "abcdEX": false,
		"abcdEFG": false, "abcdEFGH": false, // it ends there
	} {
		if got, err := w.b.Continues(t.Context(), m, at(h)); err != nil || got != want {
			t.Errorf("%q: %v, %v", h, got, err)
		}
	}
	m.Pruned, m.Snapshots = 3, []Snapshot{{Sequence: 3}}
	if _, err := w.b.Continues(t.Context(), m, at("ab")); !errors.Is(err, ErrTooOld) {
		t.Errorf("before what is kept: %v", err)
	}
}

// TestContinuesDamaged: a batch that cannot be read is no other history.
func TestContinuesDamaged(t *testing.T) {
	w := newWorld(t)
	key := w.put("n", 1, "abc", 1)
	data := bytes.Clone(w.object(key))
	data[len(data)-8]++ // its checksum
	if err := w.store.Delete(t.Context(), key); err != nil {
		t.Fatal(err)
	}
	if err := w.b.PutBatch(t.Context(), testID, Batch{NodeID: "n", From: 1, To: 3, Epoch: 1}, data); err != nil {
		t.Fatal(err)
	}
	start := Position{Chain: batch.Genesis(testID)}
	if got, err := w.b.Continues(t.Context(), w.manifest("", Span{"n", 1, 1, 0}), start); got || !errors.Is(err, seal.ErrCorrupt) || !errors.Is(err, ErrCorrupt) {
		t.Errorf("%v, %v", got, err)
	}
}

// TestContinuesInTransit: a bit that flips on the way makes no other history, and no damage.
func TestContinuesInTransit(t *testing.T) {
	w := newWorld(t)
	key := w.put("n", 1, "abcdef", 1)
	m := w.manifest("abcdef", Span{"n", 1, 1, 0})
	at := Position{Sequence: 3, Chain: w.chain("abc")}
	for i := range int64(len(w.object(key))) {
		flips := 0
		b := w.breaking(func(c objstoretest.Call) objstoretest.Fault {
			if c.Op == objstoretest.Get && c.Try == 1 {
				flips++
				return objstoretest.Fault{Kind: objstoretest.Flip, At: i}
			}
			return objstoretest.Fault{}
		})
		if goesOn, err := b.Continues(t.Context(), m, at); !goesOn || err != nil || flips != 1 {
			t.Errorf("byte %d: %v, %v, %d flips", i, goesOn, err, flips)
		}
	}
}

// TestTrail: what was read under one manifest of a session need not be read again
// under its next one, if that is on the way.
func TestTrail(t *testing.T) {
	w := newWorld(t)
	at := func(h string) Position { return Position{Sequence: int64(len(h)), Chain: w.chain(h)} }
	first := w.manifest("ab", Span{"n", 1, 1, 0})
	var trail Trail
	if trail.Leads(first, at("ab")) {
		t.Error("nothing was read, and it leads somewhere")
	}
	for _, h := range []string{"ab", "abc", "abcd"} {
		trail.Add(first, at(h))
	}
	for _, c := range []struct {
		what string
		m    *Manifest
		at   string
		want bool
	}{
		{"the same manifest", first, "abcd", true},
		{"a point that nobody has come to", first, "abcde", false},
		{"a later manifest on the way", w.manifest("abc", Span{"n", 1, 1, 0}), "abcd", true},
		{"one at the end", w.manifest("abcd", Span{"n", 1, 1, 0}), "abcd", true},
		{"one that is further", w.manifest("abcdef", Span{"n", 1, 1, 0}), "abcd", true},
		{"one of a twin", w.manifest("abX", Span{"n", 1, 1, 0}), "abcd", false},
		{"one of the next session", w.manifest("abc", Span{"n", 1, 1, 3}, Span{"n", 2, 4, 0}), "abcd", false},
		{"one of another node", w.manifest("abc", Span{"n", 1, 1, 3}, Span{"m", 2, 4, 0}), "abcd", false},
	} {
		if got := trail.Leads(c.m, at(c.at)); got != c.want {
			t.Errorf("%s: %v", c.what, got)
		}
	}
	trail.Add(w.manifest("abc", Span{"n", 1, 1, 3}, Span{"m", 2, 4, 0}), at("abc"))
	if trail.Leads(first, at("abcd")) {
		t.Error("it remembers two sessions")
	}
}
