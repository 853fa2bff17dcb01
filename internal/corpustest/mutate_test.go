package corpustest

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/driftdb/driftdb-go"
)

// TestMutated: files with random damage, ones that DriftDB has never seen and ones of
// its own, are held to the same rule as those of the corpus.
func TestMutated(t *testing.T) {
	var all []image
	for name, base := range map[string][]byte{"foreign": sound(t, false), "ours": sound(t, true)} {
		for seed := range uint64(3000) {
			all = append(all, image{name: fmt.Sprintf("%s, seed %d", name, seed), ours: name == "ours", mutated: func() []byte { return mutate(base, seed) }})
		}
	}
	each(t, all, 15, 60, play)
}

// sound is a database with a bit of everything, which DriftDB has had open or not.
func sound(t *testing.T, ours bool) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "sound.sqlite")
	db, err := driftdb.Open(t.Context(), driftdb.Config{Name: "app", Path: path})
	if err != nil {
		t.Fatal(err)
	}
	_, err = db.Exec(t.Context(), `
		CREATE TABLE t(id INTEGER PRIMARY KEY AUTOINCREMENT, a TEXT UNIQUE, b BLOB, CHECK(length(a) > 0));
		CREATE TABLE k(a TEXT COLLATE NOCASE, b INT, PRIMARY KEY(a, b)) WITHOUT ROWID;
		CREATE INDEX i ON t(b, a) WHERE b IS NOT NULL;
		CREATE VIRTUAL TABLE f USING fts5(a);
		CREATE TABLE gone AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT 150) SELECT i, hex(zeroblob(40)) FROM n;
		INSERT INTO t(a, b) SELECT 'name ' || i, zeroblob(i * 7 % 900) FROM gone;
		INSERT INTO k SELECT 'key ' || i, i FROM gone;
		INSERT INTO f SELECT 'word' || (i % 20) || ' and more' FROM gone;
		DROP TABLE gone`)
	if err == nil {
		err = db.Close()
	}
	if err == nil && !ours {
		err = driftdb.Detach(path)
	}
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// mutate damages a copy of a database of 4096-byte pages.
func mutate(base []byte, seed uint64) []byte {
	r := rand.New(rand.NewPCG(seed, 0))
	data := bytes.Clone(base)
	page := func() []byte {
		at := r.IntN(len(data)/4096) * 4096
		return data[at : at+4096]
	}
	for range 1 + r.IntN(3) {
		if len(data) < 3*4096 {
			break
		}
		switch r.IntN(8) {
		case 0: // a byte
			data[r.IntN(len(data))] = byte(r.Uint32())
		case 1: // a page's header, or the file's
			p := page()
			p[r.IntN(100)] ^= 1 << r.IntN(8)
		case 2:
			clear(page())
		case 3:
			copy(page(), page())
		case 4: // the file is cut off
			data = data[:len(data)-4096*(1+r.IntN(2))-r.IntN(2)*r.IntN(4096)]
		case 5: // the free list and what else the header says
			at := []int{16, 18, 20, 24, 28, 32, 36, 40, 44, 52, 56, 60, 64}[r.IntN(13)]
			binary.BigEndian.PutUint32(data[at:], r.Uint32N(uint32(len(data)/2048)))
		case 6: // a pointer of a page
			p := page()
			binary.BigEndian.PutUint16(p[8+2*r.IntN(20):], uint16(r.Uint32()))
		case 7: // a run of bytes
			p := page()
			at := r.IntN(4000)
			for i := range r.IntN(96) {
				p[at+i] = byte(r.Uint32())
			}
		}
	}
	return data
}
