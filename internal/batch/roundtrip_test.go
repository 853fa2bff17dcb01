package batch

import (
	"bytes"
	"encoding/json"
	"maps"
	"math"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/driftdb/driftdb-go/internal/change"
	"github.com/driftdb/driftdb-go/internal/digest"
	"pgregory.net/rapid"
)

var (
	nastyInts  = []int64{0, 1, -1, 1 << 53, 1<<53 + 1, -1 << 53, -1<<53 - 1, math.MaxInt64, math.MinInt64}
	nastyReals = []float64{0, math.Copysign(0, -1), 5, 0.1, 1e21, 1e-6, 1e-7, math.MaxFloat64, math.SmallestNonzeroFloat64,
		2.2250738585072011e-308, math.Inf(1), math.Inf(-1), 1 << 53, 1<<53 + 2}
	nastyTexts = []string{"", "\x00", "a\x00b", "\xff", "\xed\xa0\x80", "\xc3", "\"\\/\b\f\n\r\t\x7f\x1f", "\u2028", "𝄞", "$text:", "$text", "\ufffd"}
)

func genBytes() *rapid.Generator[string] {
	return rapid.OneOf(
		rapid.SampledFrom(nastyTexts), rapid.String(),
		rapid.Map(rapid.SliceOfN(rapid.Byte(), 0, 40), func(b []byte) string { return string(b) }),
		rapid.Map(rapid.IntRange(0, 300), func(n int) string { return strings.Repeat("x\n", n) }))
}

func genValue() *rapid.Generator[change.Value] {
	return rapid.Custom(func(t *rapid.T) change.Value {
		switch kind := change.Kind(rapid.IntRange(0, 4).Draw(t, "kind")); kind {
		case change.Integer:
			return change.Value{Kind: kind, Int: rapid.OneOf(rapid.SampledFrom(nastyInts), rapid.Int64()).Draw(t, "int")}
		case change.Real:
			v := rapid.OneOf(rapid.SampledFrom(nastyReals), rapid.Float64(), rapid.Map(rapid.Uint64(), math.Float64frombits)).Draw(t, "real")
			if math.IsNaN(v) {
				v = 0.5 // not in SQLite
			}
			return change.Value{Kind: kind, Real: v}
		case change.Text, change.Blob:
			return change.Value{Kind: kind, Bytes: []byte(genBytes().Draw(t, "bytes"))}
		}
		return change.Value{}
	})
}

func genRow() *rapid.Generator[row] {
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) change.Column {
		return change.Column{Name: genBytes().Draw(t, "column"), Value: genValue().Draw(t, "value")}
	}), 0, 5)
}

func genEntry() *rapid.Generator[change.Entry] {
	return rapid.Custom(func(t *rapid.T) change.Entry {
		e := change.Entry{Op: change.Op(rapid.IntRange(1, 5).Draw(t, "op"))}
		switch e.Op {
		case change.Schema:
			e.SQL = genBytes().Draw(t, "sql")
			flags := rapid.SliceOfN(rapid.Bool(), 4, 4).Draw(t, "settings")
			e.Settings = change.Settings{ForeignKeys: flags[0], LegacyAlterTable: flags[1], DoubleQuotedDDL: flags[2], DoubleQuotedDML: flags[3]}
			return e
		case change.Barrier:
			e.Reason = genBytes().Draw(t, "reason")
			return e // genTransactions makes those that stand for a range
		}
		e.Table = genBytes().Draw(t, "table")
		ints := rapid.OneOf(rapid.SampledFrom(nastyInts), rapid.Int64())
		if e.HasRowID = rapid.Bool().Draw(t, "hasRowID"); e.HasRowID {
			e.RowID = ints.Draw(t, "rowid")
		}
		if e.Op != change.Insert {
			e.Key, e.Before = genRow().Draw(t, "key"), genRow().Draw(t, "before")
		}
		if e.Op != change.Delete {
			e.After = genRow().Draw(t, "after")
		}
		if e.Op == change.Insert && len(e.After) > 0 && rapid.Bool().Draw(t, "hasKey") {
			c := rapid.SampledFrom(e.After).Draw(t, "key column")
			e.Key = row{{Name: c.Name, Value: *change.Find(e.After, c.Name)}}
		}
		if e.Op == change.Update && e.HasRowID {
			e.NewRowID = rapid.OneOf(rapid.Just(e.RowID), ints).Draw(t, "newRowID")
		}
		return e
	})
}

func genHeader() *rapid.Generator[Header] {
	return rapid.Custom(func(t *rapid.T) Header {
		return Header{
			NodeID: rapid.String().Draw(t, "node"),
			Epoch:  rapid.Int64Range(0, maxExact).Draw(t, "epoch"),
			From:   rapid.OneOf(rapid.Just(int64(1)), rapid.Int64Range(1, maxExact-10<<20)).Draw(t, "from"),
			Prev:   Genesis(rapid.String().Draw(t, "id")),
		}
	})
}

// genTransactions makes at least one transaction, from sequence first on.
func genTransactions(first int64) *rapid.Generator[[]transaction] {
	return rapid.Custom(func(t *rapid.T) []transaction {
		txs := make([]transaction, rapid.IntRange(1, 6).Draw(t, "transactions"))
		for i := range txs {
			txs[i] = transaction{first: first, time: rapid.Int64Range(-maxExact, maxExact).Draw(t, "time")}
			if rapid.IntRange(0, 7).Draw(t, "barrier over a range") == 0 {
				n := rapid.Int64Range(2, 1<<20).Draw(t, "count")
				txs[i].entries = []change.Entry{{Op: change.Barrier, Reason: genBytes().Draw(t, "reason"), Count: n}}
				first += n
			} else {
				txs[i].entries = rapid.SliceOfN(genEntry(), 1, 4).Draw(t, "entries")
				first += int64(len(txs[i].entries))
			}
		}
		return txs
	})
}

func genReport() *rapid.Generator[digest.Report] {
	return rapid.Custom(func(t *rapid.T) digest.Report {
		return rapid.MapOfN(genBytes(), rapid.Custom(func(t *rapid.T) *digest.Sum {
			if rapid.Bool().Draw(t, "forgotten") {
				return nil
			}
			var sum digest.Sum
			copy(sum[:], rapid.SliceOfN(rapid.Byte(), len(sum), len(sum)).Draw(t, "sum"))
			return &sum
		}), 0, 5).Draw(t, "report")
	})
}

func sameReport(a, b digest.Report) bool {
	return maps.EqualFunc(a, b, func(a, b *digest.Sum) bool { return a == b || a != nil && b != nil && *a == *b })
}

func TestRoundTrip(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		h := genHeader().Draw(rt, "header")
		txs := genTransactions(h.From).Draw(rt, "batch")
		plain, trailer := encodeWith(t, h, txs, genReport().Draw(rt, "digests"))
		if !json.Valid(plain) {
			rt.Fatalf("not JSON:\n%s", plain)
		}
		gotHeader, got, read, err := decode(iotest.HalfReader(bytes.NewReader(plain)))
		if err != nil {
			rt.Fatalf("%v in\n%s", err, plain)
		}
		if gotHeader != h || read.To != trailer.To || read.Head != trailer.Head || !sameReport(read.Digests, trailer.Digests) || !equalTransactions(got, txs) {
			rt.Fatalf("got %+v %+v\nwant %+v %+v\nin\n%s", gotHeader, got, h, txs, plain)
		}
	})
}

// Wherever a history is cut into batches, its chain is the same, and merging
// the batches gives the bytes of the batch that was never cut.
func TestMerge(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		h := genHeader().Draw(rt, "header")
		txs := genTransactions(h.From).Draw(rt, "batch")
		whole, want := encode(t, h, txs)

		var merged bytes.Buffer
		w := NewWriter(&merged, h)
		part := h
		for rest := txs; len(rest) > 0; {
			n := rapid.IntRange(1, len(rest)).Draw(rt, "cut")
			small, trailer := encode(t, part, rest[:n])
			r, err := NewReader(bytes.NewReader(small))
			must(t, err)
			must(t, w.Copy(r))
			part.From, part.Prev = trailer.To+1, trailer.Head
			rest = rest[n:]
		}
		got, err := w.Close()
		must(t, err)
		if got.To != want.To || got.Head != want.Head || !bytes.Equal(merged.Bytes(), whole) {
			rt.Fatalf("merged:\n%s\nwhole:\n%s", &merged, whole)
		}
	})
}

// A record that is kept past the next call to Next is the caller's mistake;
// the strings in it are not.
func TestStringsOutliveTheRecord(t *testing.T) {
	plain, _ := encode(t, testHeader, goldenTransactions)
	r, err := NewReader(iotest.OneByteReader(bytes.NewReader(plain)))
	must(t, err)
	rec, err := r.Next()
	must(t, err)
	sql := rec.Entry.SQL
	for ; err == nil; _, err = r.Next() {
	}
	if want := goldenTransactions[0].entries[0].SQL; sql != want {
		t.Errorf("SQL became %q", sql)
	}
}

func TestLargeEntries(t *testing.T) {
	big := transaction{first: 1, time: 1, entries: []change.Entry{
		{Op: change.Insert, Table: "t", After: row{{Name: "b", Value: change.Value{Kind: change.Blob, Bytes: bytes.Repeat([]byte{0xfb}, 3*readSize)}}}},
		{Op: change.Insert, Table: "t", After: row{text("t", strings.Repeat("\x00é", readSize)), integer("i", 7)}},
		{Op: change.Insert, Table: "t", After: row{text("t", "small")}},
	}}
	plain, _ := encode(t, testHeader, []transaction{big})
	_, got, _, err := decode(bytes.NewReader(plain))
	if err != nil || !equalTransactions(got, []transaction{big}) {
		t.Errorf("entries larger than the buffer do not round-trip: %v", err)
	}
}
