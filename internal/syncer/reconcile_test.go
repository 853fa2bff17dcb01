package syncer

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/driftdb/driftdb-go/internal/batch"
	"github.com/driftdb/driftdb-go/internal/change"
	"github.com/driftdb/driftdb-go/internal/changelog"
	"github.com/driftdb/driftdb-go/internal/digest"
	"github.com/driftdb/driftdb-go/internal/event"
	"github.com/driftdb/driftdb-go/internal/remote"
	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// newEpoch is an epoch of a file whose log has these entries: the name of a table that is
// made, or "" for a barrier. The change n is of the time 100n.
func newEpoch(t *testing.T, entries ...string) *epoch {
	t.Helper()
	path := filepath.Join(t.TempDir(), "app.sqlite")
	c, err := new(sqlite.Driver).Open(path, sqlite.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := changelog.Init(c, ""); err != nil {
		t.Fatal(err)
	}
	for i, table := range entries {
		data := change.AppendBarrier(change.AppendHeader(nil, nil), "a test")
		if table != "" {
			data = change.AppendSchema(change.AppendHeader(nil, nil), "CREATE TABLE "+table+"(a)", change.Settings{})
		}
		if err := c.Exec(fmt.Sprintf("INSERT INTO _driftdb_log(sequence, count, time, schema, data) VALUES(%d, 1, %d, 0, x'%x')", i+1, 100*(i+1), data)); err != nil {
			t.Fatal(err)
		}
	}
	log, err := changelog.Open(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { log.Close() })
	st, err := newState(Config{
		Log: log, Path: path, Logger: event.To(slog.DiscardHandler), Limits: changelog.Limits{Bytes: 1 << 20},
		Contest:   func(bool) {},
		Sequence:  func() int64 { return int64(len(entries)) },
		StandBack: func(context.Context) (func(), error) { return func() {}, nil },
	}, context.Background())
	if err != nil {
		t.Fatal(err)
	}
	return &epoch{state: st}
}

// at lets the books say that the bucket has all up to acked, and knows those tables.
func (e *epoch) at(t *testing.T, b changelog.Books, tables ...string) {
	t.Helper()
	known := digest.Set{}
	for _, name := range tables {
		known[name] = digest.Sum{}
	}
	if err := e.record(t.Context(), b, changelog.Digests{Known: known, Told: maps.Clone(known)}); err != nil {
		t.Fatal(err)
	}
	e.unsummed = false
}

func tables(s digest.Set) string { return strings.Join(slices.Sorted(maps.Keys(s)), " ") }

// TestAlign: where the bucket has more of the file's log than the books say, or less, the
// books say what it has.
func TestAlign(t *testing.T) {
	chain := batch.Genesis("somewhere")
	group := changelog.Group{Object: "a batch", After: 1}
	for _, c := range []struct {
		name        string
		books       changelog.Books // before; two tables are known
		manifest    remote.Manifest
		at          int64
		want        changelog.Books
		known, told string
		unsummed    bool
	}{
		{
			name: "as the books say", books: changelog.Books{Acked: 2, Confirmed: 2, Snapshot: -1, BytesSince: 7, Group: group, Earliest: 100, Synced: 1},
			manifest: remote.Manifest{LatestSequence: 2, Earliest: 100}, at: 2,
			want:  changelog.Books{Acked: 2, Confirmed: 2, Snapshot: -1, BytesSince: 7, Group: group, Earliest: 100, Synced: 1},
			known: "a b", told: "a b",
		},
		{
			name: "more is confirmed than was known", books: changelog.Books{Acked: 2, Snapshot: -1, Earliest: 100},
			manifest: remote.Manifest{LatestSequence: 2, Earliest: 100}, at: 2,
			want:  changelog.Books{Acked: 2, Confirmed: 2, Snapshot: -1, Earliest: 100, Synced: 1},
			known: "a b", told: "a b",
		},
		{
			name: "a batch whose answer was lost", books: changelog.Books{Acked: 2, Confirmed: 2, Snapshot: -1, BytesSince: 7, Group: group},
			manifest: remote.Manifest{LatestSequence: 2, Earliest: 50}, at: 3,
			want:  changelog.Books{Acked: 3, Confirmed: 2, Snapshot: -1, BytesSince: 7, Earliest: 50, Synced: 1},
			known: "a b c", unsummed: true,
		},
		{
			name: "with a barrier", books: changelog.Books{Acked: 2, Confirmed: 2, Snapshot: -1},
			manifest: remote.Manifest{LatestSequence: 2, Earliest: 300}, at: 5,
			want:  changelog.Books{Acked: 5, Confirmed: 2, Snapshot: -1, Barrier: 4, Earliest: 300, Synced: 1},
			known: "d", unsummed: true,
		},
		{
			name: "all that is behind a snapshot is new", books: changelog.Books{Acked: 2, Confirmed: 2, Snapshot: -1},
			manifest: remote.Manifest{LatestSequence: 2, SnapshotSequence: 2, Snapshots: []remote.Snapshot{{Sequence: 2, Size: 9}}}, at: 3,
			want:  changelog.Books{Acked: 3, Confirmed: 2, Snapshot: 2, SnapshotBytes: 9, Earliest: 300, Synced: 1},
			known: "a b c", unsummed: true,
		},
		{
			name: "a barrier without its snapshot is sent again", books: changelog.Books{Acked: 5, Confirmed: 2, Snapshot: -1, Barrier: 4},
			manifest: remote.Manifest{LatestSequence: 2, Earliest: 100}, at: 3,
			want: changelog.Books{Acked: 3, Confirmed: 2, Snapshot: -1, Barrier: 4, Earliest: 100, Synced: 1},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := newEpoch(t, "a", "b", "c", "", "d")
			c.books.Chain, c.want.Chain = chain, chain
			e.at(t, c.books, "a", "b")
			m := c.manifest
			err := e.reconcile(t.Context(), Comparison{relation: ahead, stored: remote.Stored{Manifest: &m}, at: remote.Position{Sequence: c.at, Chain: chain}}, nil, false)
			if err != nil {
				t.Fatal(err)
			}
			if e.books != c.want {
				t.Errorf("the books are\n%+v, want\n%+v", e.books, c.want)
			}
			if tables(e.digests.Known) != c.known || tables(e.digests.Told) != c.told || e.unsummed != c.unsummed {
				t.Errorf("known %q, told %q, unsummed %v", tables(e.digests.Known), tables(e.digests.Told), e.unsummed)
			}
			if saved, err := e.log.Books(); err != nil || saved != c.want {
				t.Errorf("the file says %+v, %v", saved, err)
			}
		})
	}
}

// TestStartOver: a bucket that was emptied gets all of the log, or, if that was trimmed,
// a snapshot first.
func TestStartOver(t *testing.T) {
	for _, c := range []struct {
		name    string
		acked   int64
		trimmed int64
		want    changelog.Books
		known   string
	}{
		{name: "nothing was sent", want: changelog.Books{}, known: "a"},
		{name: "the log is whole", acked: 2, want: changelog.Books{Snapshot: -1, Earliest: changelog.NoTime, Synced: 1}},
		{name: "the log was trimmed", acked: 2, trimmed: 1, want: changelog.Books{Acked: 2, Barrier: 2, Snapshot: -1, Earliest: changelog.NoTime, Synced: 1}, known: "a"},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := newEpoch(t, "a", "b", "c")
			before := changelog.Books{Acked: c.acked, Chain: batch.Genesis("before")}
			e.at(t, before, "a")
			if _, err := e.log.Trim(c.trimmed); err != nil {
				t.Fatal(err)
			}
			if err := e.reconcile(t.Context(), Comparison{relation: vacant}, nil, false); err != nil {
				t.Fatal(err)
			}
			c.want.Chain = before.Chain
			if c.acked > 0 && c.trimmed == 0 {
				c.want.Chain = batch.Genesis(e.log.Identity().DatabaseID)
			}
			if e.books != c.want || tables(e.digests.Known) != c.known {
				t.Errorf("the books are\n%+v, want\n%+v; known %q", e.books, c.want, tables(e.digests.Known))
			}
		})
	}
}

// TestStepBack: what was stored behind the manifest is sent again.
func TestStepBack(t *testing.T) {
	e := newEpoch(t, "a", "b", "c")
	head := batch.Genesis("confirmed")
	e.manifest = remote.Stored{Manifest: &remote.Manifest{LatestSequence: 1, ChainHead: head}}
	e.at(t, changelog.Books{Acked: 1, Snapshot: -1}, "a")
	if stepped, err := e.stepBack(t.Context()); err != nil || stepped {
		t.Errorf("nothing is behind it: %v, %v", stepped, err)
	}
	e.at(t, changelog.Books{Acked: 3, Confirmed: 1, Snapshot: -1, Group: changelog.Group{Object: "a batch"}}, "a", "b", "c")
	if stepped, err := e.stepBack(t.Context()); err != nil || !stepped {
		t.Errorf("%v, %v", stepped, err)
	}
	if want := (changelog.Books{Acked: 1, Chain: head, Confirmed: 1, Snapshot: -1}); e.books != want || len(e.digests.Known)+len(e.digests.Told) != 0 || !e.unsummed {
		t.Errorf("the books are %+v, want %+v; known %v", e.books, want, e.digests)
	}
}
