package batch

import (
	"bytes"
	"io"
	"math"
	"slices"
	"testing"

	"github.com/driftdb/driftdb-go/internal/change"
	"github.com/driftdb/driftdb-go/internal/digest"
)

var testHeader = Header{NodeID: "node-1", Epoch: 5, From: 1, Prev: Genesis("0190b3c2-db")}

// transaction is a decoded transaction, all of its memory its own.
type transaction struct {
	first, time int64
	entries     []change.Entry
}

// encode writes a batch of the transactions, which must be in order.
func encode(t testing.TB, h Header, txs []transaction) ([]byte, Trailer) {
	t.Helper()
	return encodeWith(t, h, txs, nil)
}

// encodeWith also gives the batch digests.
func encodeWith(t testing.TB, h Header, txs []transaction, r digest.Report) ([]byte, Trailer) {
	t.Helper()
	var out bytes.Buffer
	w := NewWriter(&out, h)
	for _, tx := range txs {
		must(t, w.Begin(tx.first, tx.time))
		for i := range tx.entries {
			must(t, w.Add(&tx.entries[i]))
		}
		must(t, w.End())
	}
	w.SetDigests(r)
	trailer, err := w.Close()
	must(t, err)
	return out.Bytes(), trailer
}

// decode reads a batch to its end and copies what it holds.
func decode(src io.Reader) (h Header, txs []transaction, trailer Trailer, err error) {
	r, err := NewReader(src)
	if err != nil {
		return h, nil, trailer, err
	}
	for {
		rec, err := r.Next()
		if err == io.EOF {
			return r.Header(), txs, r.Trailer(), nil
		}
		if err != nil {
			return h, nil, trailer, err
		}
		if rec.First {
			txs = append(txs, transaction{first: rec.Sequence, time: rec.Time})
		}
		tx := &txs[len(txs)-1]
		tx.entries = append(tx.entries, clone(rec.Entry))
	}
}

func clone(e change.Entry) change.Entry {
	for _, row := range []*[]change.Column{&e.Key, &e.After, &e.Before} {
		*row = slices.Clone(*row)
		for i := range *row {
			v := &(*row)[i].Value
			v.Bytes = bytes.Clone(v.Bytes)
		}
	}
	return e
}

func equalTransactions(a, b []transaction) bool {
	return slices.EqualFunc(a, b, func(a, b transaction) bool {
		return a.first == b.first && a.time == b.time && slices.EqualFunc(a.entries, b.entries, equalEntries)
	})
}

func equalEntries(a, b change.Entry) bool {
	return a.Op == b.Op && a.Table == b.Table && a.HasRowID == b.HasRowID && a.RowID == b.RowID && a.NewRowID == b.NewRowID &&
		a.SQL == b.SQL && a.Settings == b.Settings && a.Reason == b.Reason && a.Count == b.Count &&
		slices.EqualFunc(a.Key, b.Key, equalColumns) &&
		slices.EqualFunc(a.After, b.After, equalColumns) &&
		slices.EqualFunc(a.Before, b.Before, equalColumns)
}

func equalColumns(a, b change.Column) bool {
	return a.Name == b.Name && a.Value.Kind == b.Value.Kind && a.Value.Int == b.Value.Int &&
		math.Float64bits(a.Value.Real) == math.Float64bits(b.Value.Real) &&
		bytes.Equal(a.Value.Bytes, b.Value.Bytes)
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func null(name string) change.Column { return change.Column{Name: name} }

func integer(name string, v int64) change.Column {
	return change.Column{Name: name, Value: change.Value{Kind: change.Integer, Int: v}}
}

func real(name string, v float64) change.Column {
	return change.Column{Name: name, Value: change.Value{Kind: change.Real, Real: v}}
}

func text(name, v string) change.Column {
	return change.Column{Name: name, Value: change.Value{Kind: change.Text, Bytes: []byte(v)}}
}

func blob(name string, v ...byte) change.Column {
	return change.Column{Name: name, Value: change.Value{Kind: change.Blob, Bytes: v}}
}

// row is a row.
type row = []change.Column
