//go:build !race

package model_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/dbtest"
	"github.com/driftdb/driftdb-go/internal/systemtest"
	"github.com/driftdb/driftdb-go/objstore"
	"pgregory.net/rapid"
)

// TestModel takes random schemas and statements the whole way: through random
// connections and the Go API, with syncs, closes and losses of the disk in
// between. The file itself says what is right: a restore of its backup must
// equal it, and an earlier sequence what the file was then.
//
// A failure prints how to repeat it, and the statements of the shortest run
// that fails. "make model" runs for longer. The race detector is not for it: it
// does one thing after the other, and would take minutes.
func TestModel(t *testing.T) {
	dir := systemtest.MemoryDir(t)
	runs := 0
	rapid.Check(t, func(rt *rapid.T) {
		runs++
		m := newModel(rt, filepath.Join(dir, fmt.Sprint(runs)))
		defer m.remove()
		m.begin()
		rt.Repeat(map[string]func(*rapid.T){"step": func(*rapid.T) { m.step() }})
		m.finish()
	})
}

// model is one run.
type model struct {
	*rapid.T
	dir   string
	files int
	cfg   driftdb.Config

	db      *driftdb.DB
	clients []*client
	people  *driftdb.Repository[systemtest.Person]
	points  []point

	diffs struct{ moves, stops int } // counts of rows that moved, and of scripts that stopped: see runScript
}

// point is what a database was at a sequence.
type point struct {
	sequence int64
	dump     string
}

func newModel(t *rapid.T, dir string) *model {
	m := &model{T: t, dir: dir, cfg: driftdb.Config{
		Name: "app", Store: objstore.Mem(), ManualSync: true,
		BusyTimeout:   time.Millisecond, // whoever holds the lock is another of our own connections, and will not give way meanwhile
		SnapshotEvery: pick(t, 0, 0, 0, 1, 30),
		MaxBatchSize:  pick(t, 0, 0, 1, 3, 20),
		Compression:   pick(t, driftdb.CompressionGzip, driftdb.CompressionNone),
	}}
	if m.one(3) {
		m.cfg.EncryptionKeys = []string{systemtest.KeyOf("5e")}
	}
	return m
}

func (m *model) begin() {
	m.newPath()
	m.open()
	m.run(m.writer(), "CREATE TABLE p(id INTEGER PRIMARY KEY, a)")
	for i := range 4 {
		m.run(m.writer(), m.createTable(fmt.Sprint("t", i)))
	}
}

// remove closes what a failed run has left open, and deletes its files.
func (m *model) remove() {
	for _, c := range m.clients {
		c.close()
	}
	if m.db != nil {
		_ = m.db.Close() // finish has looked at the error
	}
	if err := os.RemoveAll(m.dir); err != nil {
		m.Error(err)
	}
}

func (m *model) newPath() {
	m.files++
	m.cfg.Path = filepath.Join(m.dir, fmt.Sprintf("%d.sqlite", m.files))
}

func (m *model) must(what string, err error) {
	m.Helper()
	m.Logf("%s", what)
	if err != nil {
		m.Fatalf("%s: %v", what, err)
	}
}

func (m *model) open() {
	var err error
	m.db, err = driftdb.Open(context.Background(), m.cfg)
	m.must(fmt.Sprintf("Open %s, AutoRestore %v, SnapshotEvery %d, MaxBatchSize %d", filepath.Base(m.cfg.Path), m.cfg.AutoRestore, m.cfg.SnapshotEvery, m.cfg.MaxBatchSize), err)
	m.people = nil
	for i := range 2 {
		c, err := m.db.SQL().Conn(context.Background())
		m.must("Conn", err)
		m.clients = append(m.clients, &client{model: m, name: fmt.Sprint("client ", i), c: c})
	}
}

// close closes the database, with whatever its connections have left undone.
func (m *model) close() {
	for _, c := range m.clients {
		c.close()
	}
	m.clients = nil
	m.must("Close", m.db.Close())
}

func (m *model) step() {
	switch n := m.below(100); {
	case n < 45:
		query, args := m.statement()
		m.run(m.someone(), query, args...)
	case n < 65:
		pick(m.T, m.clients...).transaction()
	case n < 72:
		m.tx()
	case n < 79:
		m.repository()
	case n < 82:
		m.repairedForeignKey()
	case n < 86:
		m.keep()
	case n < 92:
		m.flush()
		m.keep()
	case n < 94:
		m.flush()
		_, err := m.db.Snapshot(context.Background())
		m.must("Snapshot", err)
	case n < 97:
		m.close()
		m.open()
	case n < 99:
		m.loseDisk()
	default:
		m.run(m.someone(), "VACUUM")
	}
}

// settle ends what the clients have begun: a lock that one of them holds would
// keep the engine from its books.
func (m *model) settle() {
	for _, c := range m.clients {
		c.settle()
	}
}

func (m *model) flush() {
	m.settle()
	m.must("Flush", m.db.Flush(context.Background()))
}

// keep remembers what the database is now.
func (m *model) keep() {
	m.settle()
	if n := m.db.Sequence(); n > 0 {
		dump, err := dbtest.Dump(m.cfg.Path)
		m.must(fmt.Sprint("keep ", n), err)
		m.points = append(m.points, point{n, dump})
	}
}

// loseDisk goes on from the bucket, with a new file. What was not flushed is
// lost, and never was.
func (m *model) loseDisk() {
	if m.one(2) {
		m.flush()
	}
	m.settle()
	flushed := m.db.Metrics().ConfirmedSequence
	m.close()
	m.newPath()
	m.cfg.AutoRestore = true
	m.open()
	n := m.db.Sequence()
	if n < flushed {
		m.Fatalf("the restored database ends at %d, but %d was confirmed", n, flushed)
	}
	m.points = slices.DeleteFunc(m.points, func(p point) bool { return p.sequence > n })
}

// finish compares restores with what the database is, and was.
func (m *model) finish() {
	m.flush()
	if n := m.db.Sequence(); n > 0 {
		dump, err := dbtest.Dump(m.cfg.Path)
		m.must(fmt.Sprint("end at ", n), err)
		m.restore(0, dump)
		for range min(3, len(m.points)) {
			p := pick(m.T, m.points...)
			m.restore(p.sequence, p.dump)
		}
		if len(m.points) > 0 {
			m.differs(pick(m.T, m.points...), pick(m.T, m.points...))
		}
	}
	m.close()
	m.db = nil
}

// restore compares a restore with what it has to be. There is none to a
// sequence between a barrier and the snapshot that followed.
func (m *model) restore(sequence int64, want string) {
	m.newPath()
	_, err := driftdb.Restore(context.Background(), driftdb.RestoreConfig{
		Name: m.cfg.Name, Path: m.cfg.Path, Store: m.cfg.Store, EncryptionKeys: m.cfg.EncryptionKeys, Sequence: sequence,
	})
	if sequence != 0 && err != nil && strings.Contains(err.Error(), "choose an earlier or a later point") {
		return
	}
	m.must(fmt.Sprint("Restore to ", sequence), err)
	got, err := dbtest.Dump(m.cfg.Path)
	m.must("Dump", err)
	m.must("compare", dbtest.CompareDumps(want, got))
}

// pick draws one of choices; the first is the simplest.
func pick[T any](t *rapid.T, choices ...T) T { return rapid.SampledFrom(choices).Draw(t, "choice") }

// below draws a number, all with the same probability: rapid.IntRange prefers
// the small ones.
func (m *model) below(n int) int { return rapid.SampledFrom(numbers[:n]).Draw(m.T, "n") }

var numbers = func() (all [100]int) {
	for i := range all {
		all[i] = i
	}
	return all
}()

// one in n.
func (m *model) one(n int) bool { return m.below(n) == n-1 }

func (m *model) word(choices ...string) string { return pick(m.T, choices...) }
