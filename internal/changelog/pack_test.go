package changelog

import (
	"bytes"
	"errors"
	"io"
	"math"
	"reflect"
	"testing"

	"github.com/driftdb/driftdb-go/internal/batch"
	"github.com/driftdb/driftdb-go/internal/change"
	"github.com/driftdb/driftdb-go/internal/digest"
)

// packLog is a log of a table that is made and filled, with a barrier between.
func packLog(t *testing.T) *Log {
	t.Helper()
	l := newLog(t)
	shape := change.Shape{Table: "t", RowID: true, Columns: []string{"a"}}
	def, err := shape.Marshal()
	check(t, err)
	check(t, l.c.Exec("INSERT INTO _driftdb_shape(id, def) VALUES(1, '"+def+"')"))
	row := func(n int64) []byte {
		data := change.AppendInsert(change.AppendHeader(nil, []int64{1}), 0, &shape, n)
		return change.AppendInt(data, n)
	}
	for i, data := range [][]byte{
		change.AppendSchema(change.AppendHeader(nil, nil), "CREATE TABLE t(a)", change.Settings{}),
		row(1), row(2), row(3),
		change.AppendBarrier(change.AppendHeader(nil, nil), "a test"),
		row(4),
	} {
		check(t, insert(l.c, int64(i+1), int64(100-i), 0, data))
	}
	return l
}

// TestPack: one pass finds all that there is to know of a batch, wherever it begins.
func TestPack(t *testing.T) {
	l := packLog(t)
	genesis := batch.Genesis("db")
	upTo := func(to int64) (p Packed) { // as one batch from the beginning
		p, err := l.Pack(io.Discard, start(1, genesis, 0, nil, nil), to, Limits{})
		check(t, err)
		return p
	}
	for _, c := range []struct {
		name     string
		from     int64
		acked    int64
		to       int64
		limits   Limits
		end      int64
		barrier  int64
		altered  bool
		earliest int64
	}{
		{name: "the schema", from: 1, limits: Limits{Bytes: 1}, end: 1, altered: true, earliest: 100},
		{name: "a row", from: 2, acked: 1, limits: Limits{Bytes: 1}, end: 2, earliest: 99},
		{name: "two entries", from: 2, acked: 1, limits: Limits{Bytes: 1 << 20, Entries: 2}, end: 3, earliest: 98},
		{name: "through", from: 2, acked: 1, limits: Limits{Bytes: 1 << 20, Through: 4}, end: 4, earliest: 97},
		{name: "a fixed end", from: 2, acked: 1, to: 5, limits: Limits{Bytes: 1, Entries: 1}, end: 5, barrier: 5, altered: true, earliest: 96},
		{name: "all", from: 1, limits: Limits{Bytes: 1 << 20}, end: 6, barrier: 5, altered: true, earliest: 95},
		{name: "with a barrier that is acknowledged", from: 4, acked: 5, limits: Limits{Bytes: 1 << 20}, end: 6, earliest: 95},
		{name: "with a schema that is acknowledged", from: 1, acked: 2, to: 4, end: 4, earliest: 97},
	} {
		prev, known := genesis, digest.Set(nil)
		if c.from > 1 {
			prev = upTo(c.from - 1).Chain
		}
		if c.acked > 0 {
			known = upTo(c.acked).Known
		}
		var out bytes.Buffer
		got, err := l.Pack(&out, start(c.from, prev, c.acked, known, known), c.to, c.limits)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		want := upTo(c.end)
		if got.To != c.end || got.Chain != want.Chain || got.Known.Compare(want.Known) != nil || len(got.Known) != len(want.Known) {
			t.Errorf("%s: ends at %d, knows %v, want %d, %v", c.name, got.To, got.Known, c.end, want.Known)
		}
		if got.Barrier != c.barrier || got.Altered != c.altered || got.Earliest != c.earliest {
			t.Errorf("%s: barrier %d, altered %v, earliest %d", c.name, got.Barrier, got.Altered, got.Earliest)
		}
		if end := read(t, &out); end.To != got.To || end.Head != got.Chain || !reflect.DeepEqual(end.Digests, got.Known.Since(known)) && len(end.Digests)+len(got.Known.Since(known)) > 0 {
			t.Errorf("%s: the batch says %+v", c.name, end)
		}
	}
}

// TestPackRefuses: a batch ends where a transaction does, and begins with one.
func TestPackRefuses(t *testing.T) {
	l := packLog(t)
	check(t, l.c.Exec("INSERT INTO _driftdb_log(sequence, count, time, schema, data) SELECT 7, 2, time, schema, data FROM _driftdb_log WHERE sequence = 2"))
	begin := start(7, batch.Genesis("db"), 6, nil, nil)
	if _, err := l.Pack(io.Discard, begin, 8, Limits{}); err == nil {
		t.Error("a row that has fewer entries than it says")
	}
	check(t, l.c.Exec("DELETE FROM _driftdb_log WHERE sequence = 7"))
	if _, err := l.Pack(io.Discard, begin, 7, Limits{}); err == nil {
		t.Error("there is nothing")
	}
	if _, err := l.Pack(io.Discard, start(1, batch.Genesis("db"), 0, nil, nil), 9, Limits{}); err == nil {
		t.Error("the log does not reach so far")
	}
	check(t, l.c.Exec("DELETE FROM _driftdb_log WHERE sequence < 3"))
	if _, err := l.Pack(io.Discard, start(1, batch.Genesis("db"), 0, nil, nil), 0, Limits{Bytes: math.MaxInt64}); !errors.Is(err, ErrTrimmed) {
		t.Errorf("a trimmed log: %v", err)
	}
}

// TestChainAt: the chain does not depend on where batches begin.
func TestChainAt(t *testing.T) {
	l := packLog(t)
	chain := batch.Genesis("db")
	for n := int64(1); n <= 6; n++ {
		next, err := l.ChainAt(n-1, chain, n)
		check(t, err)
		if whole, err := l.ChainAt(0, batch.Genesis("db"), n); err != nil || whole != next {
			t.Errorf("%d: %v, %v, want %v", n, whole, err, next)
		}
		chain = next
	}
	if same, err := l.ChainAt(6, chain, 6); err != nil || same != chain {
		t.Errorf("of nothing: %v, %v", same, err)
	}
	if _, err := l.ChainAt(0, chain, 7); err == nil {
		t.Error("no transaction ends there")
	}
}

func start(from int64, prev batch.Chain, acked int64, known, told digest.Set) Start {
	return Start{Header: batch.Header{NodeID: "n", Epoch: 1, From: from, Prev: prev}, Acked: acked, Digests: Digests{Known: known, Told: told}}
}

// read reads a batch to its end.
func read(t *testing.T, src io.Reader) batch.Trailer {
	t.Helper()
	r, err := batch.NewReader(src)
	for err == nil {
		_, err = r.Next()
	}
	if err != io.EOF {
		t.Fatal(err)
	}
	return r.Trailer()
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
