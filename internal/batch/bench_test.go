package batch

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/driftdb/driftdb-go/internal/change"
)

const benchRows = 20_000

// users returns n transactions of one insert each, like the users of the
// README, as a repository makes them: ids are UUIDv7.
func users(n int) []transaction {
	rnd := rand.New(rand.NewPCG(1, 2))
	txs := make([]transaction, n)
	now := int64(1_704_067_200_000)
	for i := range txs {
		now += rnd.Int64N(5)
		name := fmt.Sprintf("%s %s", given[rnd.IntN(len(given))], family[rnd.IntN(len(family))])
		txs[i] = transaction{first: int64(i + 1), time: now, entries: []change.Entry{{
			Op: change.Insert, Table: "users", HasRowID: true, RowID: int64(i + 1),
			After: row{
				text("id", uuid7(now, rnd)),
				text("name", name),
				text("email", fmt.Sprintf("user%d@example.com", rnd.IntN(1_000_000))),
				integer("age", 18+rnd.Int64N(60)),
				integer("createdAt", now),
				integer("updatedAt", now),
			},
		}}}
		txs[i].entries[0].Key = txs[i].entries[0].After[:1]
	}
	return txs
}

// ageUpdates returns an update of one column, and updatedAt, for each user.
func ageUpdates(users []transaction) []transaction {
	rnd := rand.New(rand.NewPCG(3, 4))
	txs := make([]transaction, len(users))
	now := users[len(users)-1].time
	for i := range txs {
		now += rnd.Int64N(5)
		user := users[rnd.IntN(len(users))].entries[0]
		txs[i] = transaction{first: int64(i + 1), time: now, entries: []change.Entry{{
			Op: change.Update, Table: "users", HasRowID: true, RowID: user.RowID, NewRowID: user.RowID,
			Key:    row{user.After[0]},
			After:  row{integer("age", 18+rnd.Int64N(60)), integer("updatedAt", now)},
			Before: row{user.After[3], user.After[5]},
		}}}
	}
	return txs
}

// readings returns n inserts that are reals for the most part.
func readings(n int) []transaction {
	rnd := rand.New(rand.NewPCG(5, 6))
	txs := make([]transaction, n)
	for i := range txs {
		values := make(row, 10)
		for j := range values {
			values[j] = real(fmt.Sprintf("c%d", j), rnd.NormFloat64())
		}
		txs[i] = transaction{first: int64(i + 1), time: int64(i), entries: []change.Entry{{Op: change.Insert, Table: "readings", After: values}}}
	}
	return txs
}

var (
	given  = []string{"Alice", "Bob", "Carol", "Dan", "Erin", "Frank", "Grace", "Heidi", "Ivan", "Judy", "Mallory", "Niaj"}
	family = []string{"Smith", "Jones", "Brown", "Garcia", "Miller", "Davis", "Wilson", "Moore", "Taylor", "Lee", "Clark", "Hall"}
)

func uuid7(ms int64, rnd *rand.Rand) string {
	return fmt.Sprintf("%08x-%04x-7%03x-%04x-%012x", ms>>16, ms&0xffff, rnd.IntN(1<<12), 0x8000|rnd.IntN(1<<14), rnd.Int64N(1<<48))
}

func BenchmarkEncode(b *testing.B) {
	benchmarkEncode(b, users(benchRows))
}

func BenchmarkEncodeUpdates(b *testing.B) {
	benchmarkEncode(b, ageUpdates(users(benchRows)))
}

func BenchmarkEncodeReals(b *testing.B) {
	benchmarkEncode(b, readings(benchRows))
}

func benchmarkEncode(b *testing.B, txs []transaction) {
	plain, _ := encode(b, testHeader, txs)
	b.SetBytes(int64(len(plain)))
	b.ReportAllocs()
	for b.Loop() {
		w := NewWriter(io.Discard, testHeader)
		for i := range txs {
			if w.Begin(txs[i].first, txs[i].time) != nil || w.Add(&txs[i].entries[0]) != nil || w.End() != nil {
				b.Fatal("cannot encode")
			}
		}
		if _, err := w.Close(); err != nil {
			b.Fatal(err)
		}
	}
	reportRows(b, plain)
}

func BenchmarkDecode(b *testing.B) {
	benchmarkDecode(b, users(benchRows))
}

func BenchmarkDecodeUpdates(b *testing.B) {
	benchmarkDecode(b, ageUpdates(users(benchRows)))
}

func BenchmarkDecodeReals(b *testing.B) {
	benchmarkDecode(b, readings(benchRows))
}

func benchmarkDecode(b *testing.B, txs []transaction) {
	plain, _ := encode(b, testHeader, txs)
	b.SetBytes(int64(len(plain)))
	b.ReportAllocs()
	src := bytes.NewReader(nil)
	for b.Loop() {
		src.Reset(plain)
		r, err := NewReader(src)
		for err == nil {
			_, err = r.Next()
		}
		if err != io.EOF {
			b.Fatal(err)
		}
	}
	reportRows(b, plain)
}

// reportRows adds what a batch of benchRows weighs and how fast its rows pass.
func reportRows(b *testing.B, plain []byte) {
	var gz bytes.Buffer
	w := gzip.NewWriter(&gz)
	w.Write(plain)
	w.Close()
	b.ReportMetric(float64(gz.Len())/benchRows, "gzB/row")
	b.ReportMetric(float64(len(plain))/benchRows, "B/row")
	b.ReportMetric(benchRows*float64(b.N)/b.Elapsed().Seconds(), "rows/s")
}
