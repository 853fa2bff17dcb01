package restore

import (
	"bytes"
	"fmt"
	"maps"
	"path/filepath"
	"testing"

	"github.com/driftdb/driftdb-go/internal/batch"
	"github.com/driftdb/driftdb-go/internal/change"
	"github.com/driftdb/driftdb-go/internal/dbfile"
	"github.com/driftdb/driftdb-go/internal/digest"
	"github.com/driftdb/driftdb-go/internal/remote"
	"github.com/driftdb/driftdb-go/internal/seal"
	"github.com/driftdb/driftdb-go/objstore"
)

const testID = "0190b3c2-0000-7000-8000-000000000001"

// history is a bucket whose contents a test writes entry by entry.
type history struct {
	testing.TB
	store objstore.Store
	b     *remote.Bucket
	m     *remote.Manifest
	had   remote.Stored
	set   digest.Set // what the entries so far make of the tables

	replayed func(path string) // is called before the file is checked
}

func newHistory(t testing.TB) *history {
	h := &history{TB: t, store: objstore.Mem(), set: digest.Set{}}
	h.b = remote.New(h.store, "app", seal.Options{})
	h.m = &remote.Manifest{
		Name: "app", DatabaseID: testID, NodeID: "n", Epoch: 1,
		ChainHead: batch.Genesis(testID), Lineage: []remote.Span{{NodeID: "n", Epoch: 1, From: 1}},
	}
	return h
}

// batch stores one batch, with a transaction for each list of entries and the
// digests that they lead to, and confirms it.
func (h *history) batch(transactions ...[]change.Entry) {
	h.Helper()
	before := maps.Clone(h.set)
	for _, tx := range transactions {
		for i := range tx {
			h.set.Apply(&tx[i])
		}
	}
	h.batchWith(h.set.Since(before), transactions...)
}

// batchWith gives the batch other digests.
func (h *history) batchWith(said digest.Report, transactions ...[]change.Entry) {
	h.Helper()
	from := h.m.LatestSequence + 1
	name := remote.Batch{NodeID: "n", From: from, To: from - 1, Epoch: 1}
	for _, tx := range transactions {
		for i := range tx {
			name.To += tx[i].Width()
		}
	}
	var sealed bytes.Buffer
	plain, err := h.b.SealBatch(&sealed, testID, remote.BatchKey("app", name))
	h.must(err)
	w := batch.NewWriter(plain, batch.Header{NodeID: "n", Epoch: 1, From: from, Prev: h.m.ChainHead})
	for _, tx := range transactions {
		h.must(w.Begin(from, 1_700_000_000_000+from))
		for i := range tx {
			h.must(w.Add(&tx[i]))
			from += tx[i].Width()
		}
		h.must(w.End())
	}
	w.SetDigests(said)
	tr, err := w.Close()
	h.must(err)
	h.must(plain.Close())
	h.must(h.b.PutBatch(h.Context(), testID, name, sealed.Bytes()))
	h.m.LatestSequence, h.m.ChainHead = tr.To, tr.Head
}

// confirm stores the manifest.
func (h *history) confirm() {
	h.Helper()
	var err error
	h.had, err = h.b.Swap(h.Context(), h.had, h.m)
	h.must(err)
}

// restore restores up to sequence; 0 is all.
func (h *history) restore(sequence int64) (string, Result, error) {
	h.Helper()
	h.confirm()
	path := filepath.Join(h.TempDir(), "restored.db")
	file, err := dbfile.Take(path)
	h.must(err)
	defer file.Release()
	opts := Options{File: file, Target: Target{Sequence: sequence}}
	opts.Progress = func(p Progress) {
		if p.Stage != Checking || h.replayed == nil {
			return
		}
		work, err := filepath.Glob(path + "*/*/*.sqlite")
		h.must(err)
		h.replayed(work[0])
		h.replayed = nil
	}
	res, err := Run(h.Context(), h.b, opts)
	return path, res, err
}

func (h *history) must(err error) {
	h.Helper()
	if err != nil {
		h.Fatal(err)
	}
}

func statement(sql string) change.Entry { return change.Entry{Op: change.Schema, SQL: sql} }

func integer(name string, v int64) change.Column {
	return change.Column{Name: name, Value: change.Value{Kind: change.Integer, Int: v}}
}

// BenchmarkRestore replays a table of seven columns.
func BenchmarkRestore(b *testing.B) {
	const rows = 200_000
	h := newHistory(b)
	h.batch([]change.Entry{statement("CREATE TABLE users(id TEXT PRIMARY KEY, createdAt INTEGER, updatedAt INTEGER, name TEXT, email TEXT, age INTEGER, score REAL)")})
	for from := int64(0); from < rows; from += 20_000 {
		var txs [][]change.Entry
		for i := from; i < from+20_000; i++ {
			id := text("id", fmt.Sprintf("01890000-0000-7000-8000-%012d", i))
			txs = append(txs, []change.Entry{{Op: change.Insert, Table: "users", HasRowID: true, RowID: i + 1, Key: []change.Column{id}, After: []change.Column{
				id, integer("createdAt", 1_700_000_000_000+i), integer("updatedAt", 1_700_000_000_000+i), text("name", fmt.Sprint("Person ", i)),
				text("email", fmt.Sprintf("person%d@example.com", i)), integer("age", i%90),
				{Name: "score", Value: change.Value{Kind: change.Real, Real: float64(i) / 7}},
			}}})
		}
		h.batch(txs...)
	}
	for b.Loop() {
		if _, _, err := h.restore(0); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(rows*b.N)/b.Elapsed().Seconds(), "rows/s")
}

func text(name, v string) change.Column {
	return change.Column{Name: name, Value: change.Value{Kind: change.Text, Bytes: []byte(v)}}
}
