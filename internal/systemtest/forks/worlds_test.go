package forks_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/batch"
	"github.com/driftdb/driftdb-go/internal/digest"
	"github.com/driftdb/driftdb-go/internal/remote"
	"github.com/driftdb/driftdb-go/internal/seal"
	"github.com/driftdb/driftdb-go/internal/systemtest"
	"github.com/driftdb/driftdb-go/objstore"
)

var worldsFlag = flag.String("worlds", "", "`FROM-TO`: the seeds of TestWorlds")

// TestWorlds: parents, forks, forks of forks; writes in all of them, in long and short
// sessions; collections with the shortest retention; forks that die half way; deletions. At
// every moment, every database restores at every point that it keeps; in the end nothing is
// left that nobody needs. A failure tells its seed and what happened. "make forks" runs 500.
func TestWorlds(t *testing.T) {
	from, to := 0, 12
	if testing.Short() {
		to = 3
	}
	if *worldsFlag != "" {
		_, err := fmt.Sscanf(*worldsFlag, "%d-%d", &from, &to)
		systemtest.Check(t, err)
	}
	dir := systemtest.MemoryDir(t)
	for seed := from; seed < to; seed++ {
		t.Run(fmt.Sprint("seed=", seed), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, filepath.Join(dir, fmt.Sprint(seed)), uint64(seed))
				defer w.end()
				w.begin("p")
				for range 20 {
					w.step()
					if t.Failed() {
						return
					}
				}
				w.settle()
			})
		})
	}
}

// world is a bucket and what should be in it.
type world struct {
	*testing.T
	rnd   *rand.Rand
	dir   string
	store *brittle
	all   []*life
	names int
	notes []string
}

// life is a database. Its table t holds letters; states[i] is what t holds after change i.
type life struct {
	cfg    driftdb.Config
	db     *driftdb.DB // nil: closed
	states []string
	gone   bool
}

// brittle is a store that fails from some write on.
type brittle struct {
	objstore.Store
	left int // writes until it fails; negative: never
}

var errBrittle = errors.New("the store is gone")

func newWorld(t *testing.T, dir string, seed uint64) *world {
	systemtest.Check(t, os.MkdirAll(dir, 0o755))
	w := &world{T: t, rnd: rand.New(rand.NewPCG(seed, 16)), dir: dir, store: &brittle{objstore.Mem(), -1}}
	w.note("seed %d", seed)
	return w
}

func (w *world) note(format string, args ...any) {
	w.notes = append(w.notes, fmt.Sprintf(format, args...))
}

func (w *world) fatal(format string, args ...any) {
	w.Helper()
	w.Fatalf(format+"\n  %s", append(args, strings.Join(w.notes, "\n  "))...)
}

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.fatal("%v", err)
	}
}

func (w *world) end() {
	for _, l := range w.all {
		if l.db != nil {
			l.db.Close()
		}
	}
	os.RemoveAll(w.dir) // nobody waits for 500 of them
}

func (w *world) config(name string) driftdb.Config {
	w.names++
	return driftdb.Config{
		Name: name, Path: filepath.Join(w.dir, fmt.Sprint(w.names, ".sqlite")), Store: w.store, AutoRestore: true,
		Retention: time.Minute, SnapshotEvery: 1 << 40, SyncInterval: 1000 * time.Hour, ManifestInterval: 1000 * time.Hour,
	}
}

// begin begins a database that is no fork.
func (w *world) begin(name string) {
	w.note("%s begins", name)
	l := &life{cfg: w.config(name), states: []string{""}}
	w.all = append(w.all, l)
	w.open(l)
	systemtest.Exec(w, l.db, "CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT)")
	l.states = append(l.states, "")
	w.write(l)
}

func (w *world) open(l *life) {
	if l.db == nil {
		var err error
		l.db, err = driftdb.Open(w.Context(), l.cfg)
		w.must(err)
		if got := l.db.Sequence(); got != int64(len(l.states)-1) {
			w.fatal("%s was opened at %d, want %d", l.cfg.Name, got, len(l.states)-1)
		}
	}
}

func (w *world) shut(l *life) {
	if l.db != nil {
		w.must(l.db.Close())
		l.db = nil
	}
}

func (w *world) write(l *life) {
	for range 1 + w.rnd.IntN(3) {
		v := string(rune('a' + w.rnd.IntN(26)))
		systemtest.Exec(w, l.db, "INSERT INTO t(v) VALUES(?)", v)
		l.states = append(l.states, l.states[len(l.states)-1]+v)
		if w.rnd.IntN(2) == 0 {
			w.must(l.db.Flush(w.Context()))
		}
	}
	w.must(l.db.Flush(w.Context()))
}

func (w *world) backup(name string) *driftdb.Backup {
	b, err := driftdb.OpenBackup(w.Context(), driftdb.BackupConfig{Name: name, Store: w.store, Retry: driftdb.RetryPolicy{MaxRetries: -1}})
	w.must(err)
	return b
}

func (w *world) manifest(name string) (*remote.Bucket, remote.Stored) {
	b := remote.New(w.store, name, seal.Options{})
	m, err := b.Manifest(w.Context())
	w.must(err)
	return b, m
}

// living are the databases that are not deleted.
func (w *world) living() []*life {
	return slices.DeleteFunc(slices.Clone(w.all), func(l *life) bool { return l.gone })
}

func (w *world) step() {
	living := w.living()
	l := living[w.rnd.IntN(len(living))]
	switch n := w.rnd.IntN(100); {
	case n < 25:
		w.note("%s writes", l.cfg.Name)
		w.open(l)
		w.write(l)
		if w.rnd.IntN(2) == 0 {
			w.shut(l)
		}
	case n < 40:
		w.note("%s writes in short sessions", l.cfg.Name)
		for range 1 + w.rnd.IntN(4) {
			w.shut(l)
			w.open(l)
			v := string(rune('A' + w.rnd.IntN(26)))
			systemtest.Exec(w, l.db, "INSERT INTO t(v) VALUES(?)", v)
			l.states = append(l.states, l.states[len(l.states)-1]+v)
			w.shut(l)
		}
	case n < 50:
		w.note("%s takes a snapshot", l.cfg.Name)
		w.open(l)
		_, err := l.db.Snapshot(w.Context())
		w.must(err)
	case n < 68:
		w.forkOf(l, w.rnd.IntN(5) == 0)
	case n < 90:
		w.collect(living)
	case n < 96 && len(living) > 1:
		w.delete(l)
	default:
		if gone := w.freeName(); gone != "" {
			w.begin(gone)
		}
	}
	w.check()
}

// forkOf forks l, or dies while it does.
func (w *world) forkOf(l *life, dies bool) {
	_, m := w.manifest(l.cfg.Name)
	least := int64(1)
	if len(m.Snapshots) > 0 && m.Begins() > 0 {
		least = m.Snapshots[0].Sequence
	}
	at := least + w.rnd.Int64N(m.LatestSequence-least+1)
	if w.rnd.IntN(3) == 0 {
		at = m.LatestSequence
	}
	name := fmt.Sprint("f", len(w.all))
	if dies && w.rnd.IntN(2) == 0 {
		name = "dead"
	}
	w.note("%s is forked at %d of %d..%d as %s, dies: %v", l.cfg.Name, at, least, m.LatestSequence, name, dies)
	b := w.backup(l.cfg.Name)
	if dies {
		w.store.left = w.rnd.IntN(6)
	}
	_, err := b.Fork(w.Context(), name, driftdb.Point{Sequence: at})
	w.store.left = -1
	if err != nil {
		if !dies {
			w.fatal("%v", err)
		}
		return
	}
	w.all = append(w.all, &life{cfg: w.config(name), states: slices.Clone(l.states[:at+1])})
	if name == "dead" {
		w.delete(w.all[len(w.all)-1])
	}
}

// collect lets a day pass, and some databases collect.
func (w *world) collect(some []*life) {
	time.Sleep(25 * time.Hour)
	for _, l := range some {
		if w.rnd.IntN(3) > 0 {
			w.note("%s collects", l.cfg.Name)
			w.collectOf(l)
		}
	}
}

func (w *world) collectOf(l *life) {
	w.open(l)
	_, _, err := l.db.CollectGarbage(w.Context())
	if err != nil && !strings.Contains(err.Error(), "is being created") {
		w.fatal("%s: %v", l.cfg.Name, err)
	}
}

func (w *world) delete(l *life) {
	w.note("%s is deleted", l.cfg.Name)
	if w.rnd.IntN(3) > 0 {
		w.shut(l)
	}
	_, err := w.backup(l.cfg.Name).Delete(w.Context())
	w.must(err)
	if l.db != nil { // a running writer is fenced
		systemtest.Exec(w, l.db, "INSERT INTO t(v) VALUES('-')")
		if err := l.db.Flush(w.Context()); !errors.Is(err, driftdb.ErrFenced) {
			w.fatal("%s was deleted under its writer: %v", l.cfg.Name, err)
		}
		l.db.Close()
		l.db = nil
	}
	l.gone = true
}

// freeName is the name of a deleted database of which nothing is left, or "".
func (w *world) freeName() string {
	for _, l := range w.all {
		taken := slices.ContainsFunc(w.all, func(o *life) bool { return !o.gone && o.cfg.Name == l.cfg.Name })
		left := slices.ContainsFunc(systemtest.Keys(w, w.store), func(k string) bool {
			return strings.HasPrefix(k, "databases/"+l.cfg.Name+"/nodes/") || strings.HasPrefix(k, "forks/"+l.cfg.Name+"/")
		})
		if l.gone && !taken && !left {
			return l.cfg.Name
		}
	}
	return ""
}

// check proves that every database restores at every point that it keeps: all of its
// snapshots are there, and the log leads from each of them to the end.
func (w *world) check() {
	w.Helper()
	names := map[string]bool{}
	for _, l := range w.living() {
		names[l.cfg.Name] = true
		b, m := w.manifest(l.cfg.Name)
		starts := []remote.Position{}
		if m.Begins() == 0 {
			starts = append(starts, m.Genesis())
		}
		for _, s := range m.Snapshots {
			body, err := b.OpenSnapshot(w.Context(), m.Manifest, s)
			w.must(err)
			_, err = io.Copy(io.Discard, body)
			w.must(errors.Join(err, body.Close()))
			starts = append(starts, remote.Position{Sequence: s.Sequence, Chain: s.Chain})
		}
		if len(starts) == 0 {
			w.fatal("%s has no point left", l.cfg.Name)
		}
		for _, at := range starts {
			end, err := b.Walk(w.Context(), m.Manifest, at, remote.Target{}, &replay{w: w, l: l, at: at.Sequence})
			if err != nil || end.Sequence != int64(len(l.states)-1) {
				w.fatal("%s from %d: the log leads to %d, %v; want %d", l.cfg.Name, at.Sequence, end.Sequence, err, len(l.states)-1)
			}
		}
	}
	listed, err := driftdb.ListBackups(w.Context(), driftdb.BackupConfig{Store: w.store})
	w.must(err)
	for _, name := range listed {
		if !names[name] && !w.reserved(name) {
			w.fatal("the store lists %s, which is gone", name)
		}
	}
}

// reserved reports whether a fork that died holds a name.
func (w *world) reserved(name string) bool {
	return strings.Contains(string(systemtest.Read(w, w.store, "databases/"+name+"/manifest.json")), `"reserved":true`)
}

// replay compares a walk with what the database should have had.
type replay struct {
	w  *world
	l  *life
	at int64
}

func (r *replay) Begin() error                                     { return nil }
func (r *replay) Rollback() error                                  { return nil }
func (r *replay) Commit(at remote.Position, _ digest.Report) error { r.at = at.Sequence; return nil }

func (r *replay) Apply(rec *batch.Record) error {
	want := r.l.states
	if rec.Sequence == 1 {
		return nil // the table
	}
	if rec.Sequence >= int64(len(want)) {
		return fmt.Errorf("change %d never was", rec.Sequence)
	}
	got := string(rec.Entry.After[len(rec.Entry.After)-1].Value.Bytes)
	if want[rec.Sequence] != want[rec.Sequence-1]+got {
		return fmt.Errorf("change %d is %q, want what leads to %q", rec.Sequence, got, want[rec.Sequence])
	}
	return nil
}

// settle lets everything come to rest, restores, and looks at what is left.
func (w *world) settle() {
	w.note("everything comes to rest")
	for _, l := range w.living() { // the last restores, by the front door
		w.shut(l)
		for _, at := range []int64{0, int64(len(l.states) - 1)} {
			wantRestored(w, l.cfg, driftdb.Point{Sequence: at}, l.states[len(l.states)-1])
		}
	}
	for _, l := range w.living() {
		// The session after a snapshot replaces no batch, and deletes what others have replaced.
		w.open(l)
		_, err := l.db.Snapshot(w.Context())
		w.must(err)
		w.shut(l)
		w.open(l)
		w.write(l)
	}
	for range 5 {
		time.Sleep(25 * time.Hour)
		for _, l := range w.living() {
			w.collectOf(l)
		}
	}
	w.check()
	needed, pinned := w.needed()
	for _, key := range systemtest.Keys(w, w.store) {
		switch {
		case strings.HasPrefix(key, "vacated/"), strings.HasSuffix(key, "/manifest.json"):
		case strings.Contains(key, "/probe") && w.lives(strings.Split(key, "/")[1]):
		case strings.HasPrefix(key, "forks/"):
			parts := strings.Split(key, "/")
			if !pinned[parts[1]+"/"+parts[2]] {
				w.fatal("left: the pin %s", key)
			}
		case !needed(key):
			w.fatal("left: %s", key)
		}
	}
}

func (w *world) lives(name string) bool {
	return slices.ContainsFunc(w.living(), func(l *life) bool { return l.cfg.Name == name })
}

// needed returns a function that tells whether a manifest needs an object, and the pairs of
// origins and forks.
func (w *world) needed() (needed func(key string) bool, pinned map[string]bool) {
	type span struct {
		folder   string
		epoch    int64
		from, to int64
	}
	var spans []span
	snapshots := map[string]bool{}
	pinned = map[string]bool{}
	for _, l := range w.living() {
		_, m := w.manifest(l.cfg.Name)
		for _, s := range m.Snapshots {
			snapshots[s.Key] = true
		}
		for _, o := range m.Origins {
			pinned[o.Name+"/"+l.cfg.Name] = true
		}
		for _, s := range m.Lineage {
			owner := l.cfg.Name
			for _, o := range slices.Backward(m.Origins) {
				if s.To != 0 && s.To <= o.To {
					owner = o.Name
				}
			}
			to := s.To
			if to == 0 {
				to = 1 << 40
			}
			spans = append(spans, span{"databases/" + owner + "/nodes/" + s.NodeID + "/logs/", s.Epoch, max(s.From, m.Pruned+1), to})
		}
	}
	return func(key string) bool {
		if snapshots[key] {
			return true
		}
		return slices.ContainsFunc(spans, func(s span) bool {
			var from, to, epoch int64
			file, found := strings.CutPrefix(key, s.folder)
			_, err := fmt.Sscanf(file, "%d-%d.e%d.json", &from, &to, &epoch)
			return found && err == nil && epoch == s.epoch && from <= s.to && to >= s.from
		})
	}, pinned
}

func (s *brittle) Put(ctx context.Context, key string, body io.Reader, opts objstore.PutOptions) (objstore.Info, error) {
	if s.left == 0 {
		return objstore.Info{}, errBrittle
	}
	if s.left > 0 {
		s.left--
	}
	return s.Store.Put(ctx, key, body, opts)
}

func (s *brittle) Delete(ctx context.Context, key string) error {
	if s.left >= 0 {
		return errBrittle
	}
	return s.Store.Delete(ctx, key)
}
