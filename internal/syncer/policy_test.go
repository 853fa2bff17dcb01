package syncer

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/driftdb/driftdb-go/internal/changelog"
	"github.com/driftdb/driftdb-go/internal/remote"
)

// TestSnapshotDue: after a barrier a snapshot has to be taken; otherwise when enough has
// changed, by number and by size, and the file is one of which one can be stored.
func TestSnapshotDue(t *testing.T) {
	file := filepath.Join(t.TempDir(), "app.sqlite")
	size := func(n int64) {
		if err := errors.Join(os.WriteFile(file, nil, 0o600), os.Truncate(file, n)); err != nil {
			t.Fatal(err)
		}
	}
	waits := ailment{err: errors.New("refused"), next: time.Now().Add(time.Hour)}
	over := ailment{err: errors.New("refused"), next: time.Now().Add(-time.Hour)}
	books := func(acked, snapshot, since, bytes int64) changelog.Books {
		return changelog.Books{Acked: acked, Snapshot: snapshot, BytesSince: since, SnapshotBytes: bytes}
	}
	barrier := changelog.Books{Acked: 5, Barrier: 5, Snapshot: 4}
	none := changelog.Books{Acked: 5, Barrier: 5, Snapshot: -1}
	for _, c := range []struct {
		name    string
		books   changelog.Books
		request request
		size    int64
		ailment ailment
		want    bool
	}{
		{name: "nothing yet", books: books(0, -1, 0, 0)},
		{name: "too few changes", books: books(99, -1, 1000, 0)},
		{name: "the first one", books: books(100, -1, 1000, 0), want: true},
		{name: "too few since the last", books: books(199, 100, 1000, 1000)},
		{name: "enough, but they weigh little", books: books(500, 100, 499, 1000)},
		{name: "enough of both", books: books(200, 100, 500, 1000), want: true},
		{name: "enough, and none can be stored", books: books(200, 100, 500, 1000), ailment: waits},
		{name: "enough, and a flush waits no less", books: books(200, 100, 500, 1000), ailment: waits, request: request{flush: true}},
		{name: "enough, and time to look again", books: books(200, 100, 500, 1000), ailment: over, want: true},
		{name: "a barrier", books: barrier, want: true},
		{name: "a barrier without any snapshot", books: none, want: true},
		{name: "a barrier that is covered", books: changelog.Books{Acked: 5, Barrier: 5, Snapshot: 5}},
		{name: "a barrier, and none can be stored", books: barrier, ailment: waits},
		{name: "a barrier, and a flush tries all the same", books: barrier, ailment: waits, request: request{flush: true}, want: true},
		{name: "the end of a session with a small file", books: books(200, 100, 500, 1000), request: request{leave: true}, size: leaveSnapshot, want: true},
		{name: "the end of a session with a large one", books: books(200, 100, 500, 1000), request: request{leave: true}, size: leaveSnapshot + 1},
		{name: "the end of a session with a barrier", books: barrier, request: request{leave: true}, size: leaveSnapshot + 1, want: true},
	} {
		size(c.size)
		p := &snapshotter{state: &state{cfg: Config{Path: file, SnapshotEvery: 100}, books: c.books}, ailment: c.ailment}
		if got := p.due(c.request); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

// TestAilment: what fails is tried again after a while that doubles up to a bound.
func TestAilment(t *testing.T) {
	var a ailment
	if a.waits() {
		t.Error("nothing is wrong")
	}
	for i, want := range []time.Duration{time.Second, 2 * time.Second, 4 * time.Second, 5 * time.Second, 5 * time.Second} {
		a = a.again(errors.New("wrong"), time.Second, 5*time.Second)
		if !a.waits() || a.wait != want || a.left() > want {
			t.Errorf("attempt %d: waits %v for %s, want %s", i, a.waits(), a.wait, want)
		}
	}
}

// TestMergeable: as many confirmed batches of one tier as make one, the oldest first.
func TestMergeable(t *testing.T) {
	// Each group of a tier has so many batches of one sequence each.
	type group struct{ tier, count int }
	for _, c := range []struct {
		name      string
		groups    []group
		confirmed int64
		from, to  int
		found     bool
	}{
		{name: "none", confirmed: 10},
		{name: "too few", groups: []group{{0, mergeCount - 1}}, confirmed: 1000},
		{name: "enough", groups: []group{{0, mergeCount}}, confirmed: 1000, to: mergeCount, found: true},
		{name: "the oldest of more", groups: []group{{0, mergeCount + 9}}, confirmed: 1000, to: mergeCount, found: true},
		{name: "not all confirmed", groups: []group{{0, mergeCount}}, confirmed: mergeCount - 1},
		{name: "enough of them confirmed", groups: []group{{0, mergeCount + 1}}, confirmed: mergeCount, to: mergeCount, found: true},
		{name: "the newest tier", groups: []group{{1, 3}, {0, mergeCount}}, confirmed: 1000, from: 3, to: 3 + mergeCount, found: true},
		{name: "the newest tier has too few", groups: []group{{1, mergeCount}, {0, 1}}, confirmed: 1000},
		{name: "a tier that was merged", groups: []group{{1, mergeCount}}, confirmed: 1000, to: mergeCount, found: true},
		{name: "behind what is not confirmed, an older tier", groups: []group{{1, mergeCount}, {0, 5}}, confirmed: mergeCount, to: mergeCount, found: true},
	} {
		m := newCompactor(c.confirmed)
		for _, g := range c.groups {
			for range g.count {
				m.remember(candidate{m.batch(100), g.tier})
			}
		}
		from, to, found := m.mergeable()
		if found != c.found || found && (from != c.from || to != c.to) {
			t.Errorf("%s: %d to %d, %v", c.name, from, to, found)
		}
	}
}

// TestRemember: a large batch parts those before it from those after it, and so does
// another epoch.
func TestRemember(t *testing.T) {
	m := newCompactor(1000)
	want := func(when string, n int) {
		t.Helper()
		if m.mergeable(); len(m.candidates) != n {
			t.Errorf("%s: %d may be merged, want %d", when, len(m.candidates), n)
		}
	}
	for range 3 {
		m.remember(candidate{Batch: m.batch(mergeBelow - 1)})
	}
	want("small ones", 3)
	m.remember(candidate{Batch: m.batch(mergeBelow)})
	want("a large one", 0)
	m.remember(candidate{Batch: m.batch(1)})
	want("after it", 1)
	old := m.batch(1)
	m.session.epoch++
	want("in another epoch", 0)
	m.remember(candidate{Batch: m.batch(1)})
	m.remember(candidate{Batch: old}) // is left out by the next look
	want("there", 1)
	m.session.node = "another"
	want("under another node's name", 0)
}

// merger is a compactor that makes batches one after the other.
type merger struct {
	*compactor
	last int64
}

func newCompactor(confirmed int64) *merger {
	st := &state{books: changelog.Books{Confirmed: confirmed}, session: session{epoch: 7, node: "n"}}
	return &merger{compactor: &compactor{state: st}}
}

func (m *merger) batch(size int64) remote.Batch {
	m.last++
	return remote.Batch{NodeID: m.session.node, Epoch: m.session.epoch, From: m.last, To: m.last, Size: size}
}
