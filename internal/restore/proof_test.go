package restore

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/driftdb/driftdb-go/internal/change"
	"github.com/driftdb/driftdb-go/internal/changelog"
	"github.com/driftdb/driftdb-go/internal/digest"
	"github.com/driftdb/driftdb-go/internal/digest/scan"
	"github.com/driftdb/driftdb-go/internal/remote"
	"github.com/driftdb/driftdb-go/internal/sqlite"
	"github.com/driftdb/driftdb-go/objstore"
)

const createT = "CREATE TABLE t(id INTEGER PRIMARY KEY, a, d DEFAULT 7)"

func insert(id, a int64) change.Entry {
	key := integer("id", id)
	return change.Entry{Op: change.Insert, Table: "t", Key: []change.Column{key}, After: []change.Column{key, integer("a", a), integer("d", 0)}}
}

func update(id, from, to int64) change.Entry {
	return change.Entry{Op: change.Update, Table: "t", Key: []change.Column{integer("id", id)}, Before: []change.Column{integer("a", from)}, After: []change.Column{integer("a", to)}}
}

// snapshot stores a database that script makes, and confirms it as that of the
// last batch's end, with the digests that the log gave or others.
func (h *history) snapshot(script string, said digest.Set) {
	h.Helper()
	path := filepath.Join(h.TempDir(), "snapshot.db")
	c, err := new(sqlite.Driver).Open(path, sqlite.Options{KeepJournal: !strings.Contains(script, "_driftdb_")})
	h.must(err)
	if strings.Contains(script, "_driftdb_") {
		_, err := changelog.Init(c, "")
		h.must(err)
	}
	h.must(c.Exec(script))
	h.must(c.Close())
	f, err := os.Open(path)
	h.must(err)
	defer f.Close()
	s := remote.Snapshot{Sequence: h.m.LatestSequence, Time: 1_700_000_000_000 + h.m.LatestSequence, Chain: h.m.ChainHead, Digests: said}
	h.must(h.b.PutSnapshot(h.Context(), testID, remote.SnapshotKey("app", "n", s.Time), f, &s))
	h.m.AddSnapshot(s)
}

// TestProof: whatever makes the restored rows differ from those that the writer
// had is found, and named by table and sequence.
func TestProof(t *testing.T) {
	tables := []change.Entry{statement(createT), statement("CREATE TABLE other(x)")}
	const made = createT + "; CREATE TABLE other(x);"
	for name, c := range map[string]struct {
		fill     func(h *history)
		sequence int64 // to restore to; 0 is all
		want     error // nil: it is a good history
		says     string
	}{
		"a whole history": {func(h *history) {
			h.batch(tables, []change.Entry{insert(1, 1)})
			h.batch([]change.Entry{update(1, 1, 2)}, []change.Entry{insert(2, 1)})
		}, 0, nil, ""},
		"a lost update": {func(h *history) {
			h.batch(tables, []change.Entry{insert(1, 1)})
			lost := update(1, 1, 2)
			h.set.Apply(&lost)
			h.batchWith(digest.Report{"t": sum(h, "t")}, []change.Entry{insert(2, 1)})
			h.set = digest.Set{}
			h.batch([]change.Entry{insert(3, 1)})
		}, 0, remote.ErrCorrupt, `up to sequence 4 do not produce what the writer had: table "t"`},
		"a lost update, and a restore to before it": {func(h *history) {
			h.batch(tables, []change.Entry{insert(1, 1)})
			h.batchWith(digest.Report{"t": {1}}, []change.Entry{insert(2, 1)})
		}, 3, nil, ""},
		"a replay that leaves something else, in the middle of a batch": {func(h *history) {
			short := insert(1, 1)
			short.After = short.After[:2] // the table has a default for the third
			h.batch(tables, []change.Entry{short}, []change.Entry{insert(2, 1)}, []change.Entry{insert(3, 1)})
		}, 4, ErrDamaged, `at sequence 4, table "t"`},
		"a before-image that is wrong": {func(h *history) {
			h.batch(tables, []change.Entry{insert(1, 1)}, []change.Entry{update(1, 5, 2)})
		}, 0, ErrDamaged, `at sequence 4, table "t"`},
		"a table that the log says nothing of": {func(h *history) {
			h.batch(tables)
			h.snapshot(made+"CREATE TABLE copy AS SELECT 1 AS x", maps.Clone(h.set))
			h.batchWith(digest.Report{"copy": {2}}, []change.Entry{insert(1, 1)})
		}, 0, ErrDamaged, `at sequence 3, table "copy"`},
		"a digest that is taken back": {func(h *history) {
			h.batch(tables)
			h.snapshot(made+"CREATE TABLE copy AS SELECT 1 AS x", maps.Clone(h.set))
			h.batchWith(digest.Report{"copy": {2}}, []change.Entry{insert(1, 1)})
			h.batchWith(digest.Report{"copy": nil}, []change.Entry{insert(2, 1)})
		}, 0, nil, ""},
		"a snapshot with its digests": {func(h *history) {
			h.batch(tables, []change.Entry{insert(1, 1)})
			h.snapshot(made+"INSERT INTO t VALUES(1, 1, 0)", maps.Clone(h.set))
			h.batch([]change.Entry{update(1, 1, 2)})
		}, 0, nil, ""},
		"a cell of a snapshot": {func(h *history) {
			h.batch(tables, []change.Entry{insert(1, 1)})
			h.snapshot(made+"INSERT INTO t VALUES(1, 1.0, 0)", maps.Clone(h.set))
			h.batch([]change.Entry{insert(2, 1)})
		}, 0, ErrDamaged, `at sequence 4, table "t"`},
		"a row too many in a snapshot": {func(h *history) {
			h.batch(tables, []change.Entry{insert(1, 1)})
			h.snapshot(made+"INSERT INTO t VALUES(1, 1, 0), (2, NULL, NULL)", maps.Clone(h.set))
		}, 0, ErrDamaged, `at sequence 3, table "t"`},
		"a table that a snapshot lacks": {func(h *history) {
			h.batch(tables, []change.Entry{insert(1, 1)})
			h.snapshot("CREATE TABLE other(x)", maps.Clone(h.set))
		}, 0, ErrDamaged, `at sequence 3, table "t"`},
		"a snapshot without digests": {func(h *history) {
			h.batch(tables, []change.Entry{insert(1, 1)})
			h.snapshot(made+"INSERT INTO t VALUES(1, 9, 0)", nil)
			h.set = digest.Set{}
			h.batch([]change.Entry{insert(2, 1)}, []change.Entry{statement("CREATE TABLE later(x)")})
		}, 0, nil, ""},
		"a snapshot without digests, and a batch with them": {func(h *history) {
			h.batch(tables, []change.Entry{insert(1, 1)})
			h.snapshot(made+"INSERT INTO t VALUES(1, 9, 0)", nil)
			h.batch([]change.Entry{insert(2, 1)})
		}, 0, ErrDamaged, `at sequence 4, table "t"`},
		"a wide batch that is damaged, with its parts, not confirmed": {func(h *history) {
			h.batch(tables, []change.Entry{insert(1, 1)})
			from, chain, set := h.m.LatestSequence, h.m.ChainHead, maps.Clone(h.set)
			h.batch([]change.Entry{insert(2, 1)}, []change.Entry{insert(3, 1)})
			h.cutShort(remote.Batch{NodeID: "n", From: from + 1, To: from + 2, Epoch: 1})
			h.m.LatestSequence, h.m.ChainHead, h.set = from, chain, set
			h.batch([]change.Entry{insert(2, 1)})
			h.batch([]change.Entry{insert(3, 1)})
			h.m.LatestSequence, h.m.ChainHead = from, chain
		}, 0, nil, ""},
		"a barrier that stands for a range, with a snapshot": {func(h *history) {
			h.batch(tables)
			h.batch([]change.Entry{{Op: change.Barrier, Reason: "outgrown", Count: 40}})
			h.snapshot(made+"INSERT INTO t VALUES(1, 1, 0)", nil)
			h.batch([]change.Entry{insert(2, 1)})
		}, 0, nil, ""},
		"a barrier that stands for a range, without one": {func(h *history) {
			h.batch(tables)
			h.batch([]change.Entry{{Op: change.Barrier, Reason: "outgrown", Count: 40}})
			h.batch([]change.Entry{insert(2, 1)})
		}, 0, ErrBarrier, "after sequence 2"},
		"a target within a range": {func(h *history) {
			h.batch(tables)
			h.batch([]change.Entry{{Op: change.Barrier, Reason: "outgrown", Count: 40}}, []change.Entry{insert(2, 1)})
		}, 30, ErrNoPoint, "after sequence 2"},
		"a target before a range": {func(h *history) {
			h.batch(tables)
			h.batch([]change.Entry{{Op: change.Barrier, Reason: "outgrown", Count: 40}}, []change.Entry{insert(2, 1)})
		}, 2, nil, ""},
		"a collation that is not registered": {func(h *history) {
			h.batch(append(tables, statement("CREATE INDEX i ON t(a COLLATE klingon)")))
		}, 0, ErrMissing, "the collation klingon,"},
		"a function that is not registered": {func(h *history) {
			h.batch(append(tables, statement("CREATE INDEX i ON t(warp(a))")))
		}, 0, ErrMissing, "the function warp,"},
		"a module that is not registered": {func(h *history) {
			h.batch(append(tables, statement("CREATE VIRTUAL TABLE v USING holodeck(a)")))
		}, 0, ErrMissing, "the module holodeck,"},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHistory(t)
			c.fill(h)
			path, res, err := h.restore(c.sequence)
			if !errors.Is(err, c.want) || err != nil && !strings.Contains(err.Error(), c.says) {
				t.Fatalf("%v, want %v with %q", err, c.want, c.says)
			}
			if _, serr := os.Stat(path); (serr == nil) != (err == nil) {
				t.Errorf("the file: %v", serr)
			}
			if res.ForeignKeyViolations != 0 {
				t.Errorf("%d violations", res.ForeignKeyViolations)
			}
		})
	}
}

func sum(h *history, table string) *digest.Sum {
	s := h.set[table]
	return &s
}

// cutShort loses the end of a batch's object.
func (h *history) cutShort(name remote.Batch) {
	h.Helper()
	key := remote.BatchKey("app", name)
	body, info, err := h.store.Get(h.Context(), key, objstore.GetOptions{})
	h.must(err)
	defer body.Close()
	data, err := io.ReadAll(body)
	h.must(err)
	_, err = h.store.Put(h.Context(), key, strings.NewReader(string(data[:len(data)-20])), objstore.PutOptions{IfMatch: objstore.Matching(info.ETag)})
	h.must(err)
}

// TestForeignKeyViolations: what the source had is reported, and no reason to
// refuse the restore.
func TestForeignKeyViolations(t *testing.T) {
	h := newHistory(t)
	h.batch([]change.Entry{
		statement(createT), statement("CREATE TABLE kid(p REFERENCES t, q REFERENCES gone)"), statement("CREATE TABLE odd(p REFERENCES t(a))"),
		insert(1, 1),
	})
	var kids []change.Entry
	for i := range int64(3) {
		kids = append(kids, change.Entry{Op: change.Insert, Table: "kid", HasRowID: true, RowID: i + 1, After: []change.Column{integer("p", i), {Name: "q"}}})
	}
	h.batch(kids)
	if _, res, err := h.restore(0); err != nil || res.ForeignKeyViolations != 2+1 {
		t.Errorf("%d violations, want one for 0, one for 2 and one for the table that cannot be checked: %v", res.ForeignKeyViolations, err)
	}
}

// TestUnreadableSnapshot: a snapshot that arrives whole, but whose schema SQLite cannot read,
// with or without DriftDB's tables, is replaced by the one before it or by the log.
func TestUnreadableSnapshot(t *testing.T) {
	const row, orphan = "; INSERT INTO t VALUES(1, 1, 0)", "; PRAGMA writable_schema=ON; "
	for name, script := range map[string]string{
		"an index of nothing":           createT + row + orphan + "INSERT INTO sqlite_schema VALUES('index', 'sqlite_autoindex_t_1', 't', 2, NULL)",
		"once DriftDB's tables are out": "/* with _driftdb_ tables */" + createT + row + orphan + "UPDATE sqlite_schema SET tbl_name = '_driftdc_shape' WHERE name = 'sqlite_autoindex__driftdb_shape_1'",
	} {
		for _, older := range []bool{true, false} {
			for _, gone := range []bool{true, false} {
				t.Run(fmt.Sprintf("%s, older snapshot %v, log gone %v", name, older, gone), func(t *testing.T) {
					h := newHistory(t)
					h.batch([]change.Entry{statement(createT), insert(1, 1)})
					if older {
						h.snapshot(createT+row, maps.Clone(h.set))
					}
					h.batch([]change.Entry{update(1, 1, 2)}, []change.Entry{update(1, 2, 1)})
					h.snapshot(script, maps.Clone(h.set))
					h.batch([]change.Entry{update(1, 1, 2)})
					if gone {
						h.must(h.store.Delete(h.Context(), remote.BatchKey("app", remote.Batch{NodeID: "n", From: 1, To: 2, Epoch: 1})))
					}
					path, res, err := h.restore(0)
					if gone && !older {
						if !errors.Is(err, ErrDamaged) || !strings.Contains(err.Error(), h.m.Snapshots[0].Key) {
							t.Errorf("%v, want %v with the snapshot's name", err, ErrDamaged)
						}
						return
					}
					if err != nil || !slices.Equal(res.Damaged, []string{h.m.Snapshots[len(h.m.Snapshots)-1].Key}) {
						t.Fatalf("damaged: %q, %v", res.Damaged, err)
					}
					c, err := new(sqlite.Driver).Open(path, sqlite.Options{MustExist: true, KeepJournal: true})
					h.must(err)
					defer c.Close()
					if all, err := scan.All(t.Context(), c); err != nil || !maps.Equal(all, h.set) {
						t.Errorf("%v, want %v: %v", all, h.set, err)
					}
				})
			}
		}
	}
}

// TestSnapshotOfTheLiveFile: a snapshot that still has DriftDB's own tables, and
// the header of a WAL database, becomes a free copy like any other.
func TestSnapshotOfTheLiveFile(t *testing.T) {
	h := newHistory(t)
	h.batch([]change.Entry{statement(createT), insert(1, 1)})
	h.snapshot("/* with _driftdb_ tables */"+createT+"; INSERT INTO t VALUES(1, 1, 0)", maps.Clone(h.set))
	h.batch([]change.Entry{update(1, 1, 2)})
	path, res, err := h.restore(0)
	h.must(err)
	c, err := new(sqlite.Driver).Open(path, sqlite.Options{MustExist: true, KeepJournal: true})
	h.must(err)
	defer c.Close()
	if ours, err := changelog.Exists(c); err != nil || ours || res.Rows != 1 {
		t.Errorf("DriftDB's tables are there: %v, %d rows, %v", ours, res.Rows, err)
	}
	if all, err := scan.All(t.Context(), c); err != nil || !maps.Equal(all, h.set) {
		t.Errorf("%v, want %v: %v", all, h.set, err)
	}
	if mode, err := c.Text("PRAGMA journal_mode"); err != nil || mode != "delete" {
		t.Errorf("journal mode %s, %v", mode, err)
	}
}
