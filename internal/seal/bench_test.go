package seal

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"
)

const benchRows = 20_000

// usersBatch looks like a batch of inserted users, one a transaction.
func usersBatch() []byte {
	rnd := rand.New(rand.NewPCG(1, 2))
	var b bytes.Buffer
	b.WriteString(`{"version":1,"nodeId":"n1","epoch":1,"fromSequence":1,"entries":[`)
	now := int64(1_704_067_200_000)
	for i := range benchRows {
		now += rnd.Int64N(5)
		id := fmt.Sprintf("%08x-%04x-7%03x-%04x-%012x", now>>16, now&0xffff, rnd.IntN(1<<12), 0x8000|rnd.IntN(1<<14), rnd.Int64N(1<<48))
		fmt.Fprintf(&b, "\n"+`{"sequence":%d,"timestamp":%d,"tx":%d,"table":"users","operation":"insert","rowid":%d,`+
			`"data":{"id":"%s","name":"User %d","email":"user%d@example.com","age":%d,"createdAt":%d,"updatedAt":%d}},`,
			i+1, now, i+1, i+1, id, rnd.IntN(1000), rnd.IntN(1_000_000), 18+rnd.IntN(60), now, now)
	}
	return b.Bytes()
}

func BenchmarkSeal(b *testing.B) {
	plain := usersBatch()
	for name, opts := range forms(b) {
		b.Run(name, func(b *testing.B) {
			object := sealed(b, plain, opts, here)
			b.SetBytes(int64(len(plain)))
			b.ReportAllocs()
			for b.Loop() {
				w, err := NewWriter(io.Discard, opts, here)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := w.Write(plain); err != nil {
					b.Fatal(err)
				}
				if err := w.Close(); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(len(object))/benchRows, "B/row")
		})
	}
}

func BenchmarkOpen(b *testing.B) {
	plain := usersBatch()
	for name, opts := range forms(b) {
		b.Run(name, func(b *testing.B) {
			object := sealed(b, plain, opts, here)
			b.SetBytes(int64(len(plain)))
			b.ReportAllocs()
			for b.Loop() {
				r, err := NewReader(bytes.NewReader(object), opts.Ring, here)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := io.Copy(io.Discard, r); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
