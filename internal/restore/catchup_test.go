package restore

import (
	"context"
	"errors"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/driftdb/driftdb-go/internal/change"
	"github.com/driftdb/driftdb-go/internal/changelog"
	"github.com/driftdb/driftdb-go/internal/dbfile"
	"github.com/driftdb/driftdb-go/internal/dbtest"
	"github.com/driftdb/driftdb-go/internal/digest"
	"github.com/driftdb/driftdb-go/internal/digest/scan"
	"github.com/driftdb/driftdb-go/internal/remote"
	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// behind is a database that continues the history up to where it is now, and is
// open.
type behind struct {
	*history
	path  string
	c     *sqlite.Conn // looks
	held  int          // how often the writers stand back now
	steps []int64      // where it has been
}

func (h *history) behind() *behind {
	h.Helper()
	h.confirm()
	f := &behind{history: h, path: filepath.Join(h.TempDir(), "behind.db")}
	file, err := dbfile.Take(f.path)
	h.must(err)
	defer file.Release()
	_, err = Run(h.Context(), h.b, Options{File: file, Finish: func(c *sqlite.Conn, m *remote.Manifest, at remote.Position, last int64, sums digest.Set) error {
		b := changelog.Books{Acked: at.Sequence, Chain: at.Chain, Confirmed: at.Sequence, Snapshot: -1}
		return changelog.Continue(c, changelog.Identity{DatabaseID: m.DatabaseID, Name: m.Name, NodeID: "x"}, b, last, sums)
	}})
	h.must(err)
	f.c = f.open()
	return f
}

func (f *behind) open() *sqlite.Conn {
	f.Helper()
	c, err := new(sqlite.Driver).Open(f.path, sqlite.Options{MustExist: true, ForeignKeys: true, Synchronous: sqlite.SyncFull})
	f.must(err)
	f.Cleanup(func() { c.Close() })
	return c
}

// catchUp goes forward; before, if there is one, is called before each batch.
func (f *behind) catchUp(ctx context.Context, before func()) (remote.Position, error) {
	f.Helper()
	log := changelog.View(f.c)
	books, err := log.Books()
	f.must(err)
	digests, err := log.Digests()
	f.must(err)
	writer := f.open()
	defer writer.Close()
	at, err := CatchUp{
		Bucket: f.b, Manifest: f.m, Conn: writer, From: remote.Position{Sequence: books.Acked, Chain: books.Chain},
		Digests: digests, Known: digests.Known,
		Books: func(at remote.Position) changelog.Books {
			return changelog.Books{Acked: at.Sequence, Chain: at.Chain, Confirmed: min(at.Sequence, f.m.LatestSequence), Snapshot: -1}
		},
		StandBack: func(context.Context) (func(), error) {
			f.held++
			if before != nil {
				before()
			}
			return func() { f.held-- }, nil
		},
		Moved: func(b changelog.Books, _ changelog.Digests) {
			if f.held != 1 {
				f.Errorf("%d writers are kept away when a batch is committed", f.held)
			}
			f.steps = append(f.steps, b.Acked)
		},
	}.Run(ctx)
	if f.held != 0 {
		f.Errorf("writers are kept away %d times when it is over", f.held)
	}
	return at, err
}

// accounted checks that the file says where it is, and that its tables hold that.
func (f *behind) accounted(at remote.Position) {
	f.Helper()
	log := changelog.View(f.c)
	books, err := log.Books()
	f.must(err)
	last, err := log.Last()
	f.must(err)
	if books.Acked != at.Sequence || books.Chain != at.Chain || last != at.Sequence {
		f.Errorf("the file says that it is at %d, its log at %d, and it is at %d", books.Acked, last, at.Sequence)
	}
	first, err := log.Oldest() // there is nothing that anybody would have to send
	f.must(err)
	cookie, err := f.c.Int("SELECT schema - schema_version FROM main._driftdb_log, pragma_schema_version ORDER BY sequence DESC LIMIT 1")
	f.must(err)
	if first != last+1 || cookie != 0 {
		f.Errorf("the log begins with %d, and its schema is off by %d", first, cookie)
	}
	known, err := log.Digests()
	f.must(err)
	found, err := scan.All(f.Context(), f.c)
	f.must(err)
	f.must(known.Known.Compare(found))
}

// like compares the file with a restore to the same sequence.
func (f *behind) like(sequence int64) {
	f.Helper()
	path, _, err := f.restore(sequence)
	f.must(err)
	dbtest.Equal(f.TB.(*testing.T), f.path, path)
}

// TestCatchUp: whatever happened in the bucket meanwhile, the file becomes what a
// restore gives, batch by batch, and says so.
func TestCatchUp(t *testing.T) {
	h := newHistory(t)
	h.batch([]change.Entry{statement(createT), statement("CREATE TABLE kid(p REFERENCES t ON DELETE CASCADE)"), statement("CREATE TABLE log(x)")},
		[]change.Entry{statement("CREATE TRIGGER t_log AFTER INSERT ON t BEGIN INSERT INTO log VALUES(new.id); END"), insert(1, 1)})
	f := h.behind()
	h.must(f.c.Exec(`INSERT INTO _driftdb_queue(kind, status, epoch, from_sequence, to_sequence, object) VALUES('upload', 'pending', 1, 1, 2, 'x'), ('delete', 'pending', 1, 1, 2, 'y')`))
	kid := change.Entry{Op: change.Insert, Table: "kid", HasRowID: true, RowID: 1, After: []change.Column{integer("p", 1)}}
	gone := change.Entry{Op: change.Delete, Table: "t", Key: []change.Column{integer("id", 1)}, Before: []change.Column{integer("id", 1), integer("a", 2), integer("d", 0)}}
	h.batch([]change.Entry{update(1, 1, 2)}, []change.Entry{insert(2, 1), kid})
	h.batch([]change.Entry{statement("CREATE TABLE other(x)"), gone}) // the kid is an orphan now
	h.confirm()
	h.batch([]change.Entry{insert(3, 1)}) // which no manifest names yet
	h.m = h.had.Clone()
	at, err := f.catchUp(t.Context(), nil)
	h.must(err)
	f.accounted(at)
	if want := []int64{8, 10, 11}; at.Sequence != 11 || !slices.Equal(f.steps, want) {
		t.Errorf("it is at %d, by way of %v, want %v", at.Sequence, f.steps, want)
	}
	if n, err := f.c.Int("SELECT count(*) * 10 + (kind = 'delete') FROM main._driftdb_queue"); err != nil || n != 11 {
		t.Errorf("the queue: %d, %v", n, err)
	}
	f.like(0)
	if again, err := f.catchUp(t.Context(), nil); err != nil || again != at {
		t.Errorf("once more: %d, %v", again.Sequence, err)
	}
}

// TestCatchUpStops: where the log does not lead on, the file is at the end of a
// batch, whole, and it says whether a restore would get further.
func TestCatchUpStops(t *testing.T) {
	barrier := change.Entry{Op: change.Barrier, Reason: "why"}
	for name, c := range map[string]struct {
		more func(h *history, f *behind)
		at   int64
		want error
		says string
	}{
		"a barrier whose snapshot never came": {func(h *history, f *behind) {
			h.batch([]change.Entry{insert(2, 1)})
			h.confirm()
			h.batch([]change.Entry{insert(3, 1)}, []change.Entry{barrier}, []change.Entry{insert(4, 1)})
			h.m = h.had.Clone()
		}, 4, nil, ""},
		"such a barrier at the beginning": {func(h *history, f *behind) {
			h.confirm()
			h.batch([]change.Entry{barrier})
			h.m = h.had.Clone()
		}, 2, nil, ""},
		"a barrier with its snapshot": {func(h *history, f *behind) {
			h.batch([]change.Entry{insert(2, 1)})
			h.batch([]change.Entry{barrier})
			h.snapshot(createT+"; INSERT INTO t VALUES(1, 1, 0), (2, 1, 0)", nil)
		}, 3, ErrCannotCatchUp, "after change 3"},
		"a log that is kept no more": {func(h *history, f *behind) {
			h.batch([]change.Entry{insert(2, 1)})
			h.snapshot(createT+"; INSERT INTO t VALUES(1, 1, 0), (2, 1, 0)", nil)
			h.m.Pruned = h.m.LatestSequence
		}, 2, ErrCannotCatchUp, "does not reach back"},
		"a row that is another one here": {func(h *history, f *behind) {
			h.batch([]change.Entry{insert(2, 1)})
			h.batch([]change.Entry{insert(3, 1), update(7, 1, 2)})
		}, 3, ErrCannotCatchUp, "0 rows match where the log has one"},
		"digests that do not agree": {func(h *history, f *behind) {
			h.batch([]change.Entry{insert(2, 1)})
			h.batchWith(digest.Report{"t": {1}}, []change.Entry{insert(3, 1)})
		}, 3, ErrCannotCatchUp, "do not produce what the writer had"},
		"a batch that is missing": {func(h *history, f *behind) {
			h.batch([]change.Entry{insert(2, 1)})
			h.batch([]change.Entry{insert(3, 1)})
			h.must(h.store.Delete(h.Context(), remote.BatchKey("app", remote.Batch{NodeID: "n", From: 4, To: 4, Epoch: 1})))
		}, 3, ErrCannotCatchUp, "continues after sequence 3"},
		"a function that is not registered": {func(h *history, f *behind) {
			h.batch([]change.Entry{statement("CREATE INDEX i ON t(warp(a))")})
		}, 2, ErrCannotCatchUp, "the function warp,"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHistory(t)
			h.batch([]change.Entry{statement(createT), insert(1, 1)})
			f := h.behind()
			c.more(h, f)
			at, err := f.catchUp(t.Context(), nil)
			f.accounted(at)
			if !errors.Is(err, c.want) || err != nil && !strings.Contains(err.Error(), c.says) {
				t.Fatalf("%v, want %v with %q", err, c.want, c.says)
			}
			if at.Sequence != c.at {
				t.Errorf("it is at %d, want %d", at.Sequence, c.at)
			}
		})
	}
}

// TestCatchUpOvertaken: what was committed meanwhile stays, and so does the rest.
func TestCatchUpOvertaken(t *testing.T) {
	h := newHistory(t)
	h.batch([]change.Entry{statement(createT), insert(1, 1)})
	f := h.behind()
	h.batch([]change.Entry{insert(2, 1)})
	h.batch([]change.Entry{insert(3, 1)})
	h.confirm()
	batches := 0
	writer := f.open()
	_, err := f.catchUp(t.Context(), func() {
		if batches++; batches == 2 {
			h.must(changelog.Barrier(writer, "a change of its own"))
		}
	})
	if !errors.Is(err, changelog.ErrOvertaken) || errors.Is(err, ErrCannotCatchUp) {
		t.Fatal(err)
	}
	if n, err := f.c.Int("SELECT max(id) * 100 + max(sequence) FROM t, _driftdb_log"); err != nil || n != 204 {
		t.Errorf("%d, %v", n, err)
	}
}

// TestCatchUpCutOff: what a batch has changed is not there before all of it is, for
// whoever reads, and not at all when it cannot be committed.
func TestCatchUpCutOff(t *testing.T) {
	h := newHistory(t)
	h.batch([]change.Entry{statement(createT), insert(1, 1)})
	f := h.behind()
	before := maps.Clone(h.set)
	h.batch([]change.Entry{insert(2, 1)}, []change.Entry{insert(3, 1)})
	h.confirm()
	ctx, cancel := context.WithCancel(t.Context())
	_, err := f.catchUp(ctx, cancel)
	if !errors.Is(err, context.Canceled) || errors.Is(err, ErrCannotCatchUp) {
		t.Fatal(err)
	}
	if found, err := scan.All(t.Context(), f.c); err != nil || !maps.Equal(found, before) {
		t.Errorf("%v, want %v: %v", found, before, err)
	}
	_, err = f.catchUp(t.Context(), nil)
	h.must(err)
	f.like(0)
}
