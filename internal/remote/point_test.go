package remote

import (
	"errors"
	"testing"
)

// TestKept: what a manifest has confirmed, a later one has as well. Anything else is a
// backup that has gone back.
func TestKept(t *testing.T) {
	w := newWorld(t)
	w.put("n", 1, "abc", 1)
	w.put("m", 2, "abcde", 4)
	w.put("m", 2, "abcdef", 6)
	m := w.manifest("abcdef", Span{"n", 1, 1, 3}, Span{"m", 2, 4, 0})
	point := func(h string, epoch int64) Point { return Point{Position{int64(len(h)), w.chain(h)}, epoch} }
	for _, c := range []struct {
		name string
		seen Point
		want error
	}{
		{"nothing", Point{}, nil},
		{"the beginning", point("", 1), nil},
		{"the same", point("abcdef", 2), nil},
		{"less", point("abcde", 2), nil},
		{"less, of a former session", point("abc", 1), nil},
		{"within a batch", point("ab", 1), nil},
		{"more", point("abcdefg", 2), ErrRolledBack},
		{"a later session", point("abcdef", 3), ErrRolledBack},
		{"a later session that had less", point("abcd", 3), ErrRolledBack},
		{"another history", point("abcdeX", 2), ErrRolledBack},
		{"another history before", point("abX", 1), ErrRolledBack},
		{"another history within a batch", point("abcX", 2), ErrRolledBack},
	} {
		if err := w.b.Kept(t.Context(), m, c.seen); !errors.Is(err, c.want) {
			t.Errorf("%s: %v", c.name, err)
		}
	}
	m.Lineage, m.Pruned = m.Lineage[1:], 3
	m.AddSnapshot(Snapshot{Sequence: 3, Chain: w.chain("abc")})
	if err := w.b.Kept(t.Context(), m, point("aX", 1)); err != nil {
		t.Errorf("a point that the log does not reach back to: %v", err)
	}
	w.damage(BatchKey("app", Batch{NodeID: "m", From: 4, To: 5, Epoch: 2}))
	if err := w.b.Kept(t.Context(), m, point("abcd", 2)); err != nil {
		t.Errorf("a damaged batch: %v", err)
	}
}
