package damage_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/dbtest"
	"github.com/driftdb/driftdb-go/internal/sqlite"
	"github.com/driftdb/driftdb-go/internal/systemtest"
	"github.com/driftdb/driftdb-go/objstore"
)

// TestDamagedBackup damages each object of a backup, in every way at every
// byte: it is flipped, cut off there, swapped with another object, deleted, or
// replaced by what it was before. A restore gives exactly the data of some
// commit, none older than the manifest in the bucket confirms, or one of the
// errors that callers can tell apart.
//
// An older manifest is no damage that a reader could see: what it gives is
// older, and right.
//
// DRIFTDB_STRIDE is how many bytes lie between two that are tried; "make
// damage" tries every one.
func TestDamagedBackup(t *testing.T) {
	normal := 300
	if testing.Short() {
		normal = 1000
	}
	stride := systemtest.Setting(t, "DRIFTDB_STRIDE", normal)
	for _, secret := range []string{"", systemtest.KeyOf("da")} {
		name := "encrypted"
		if secret == "" {
			name = "plain"
		}
		t.Run(name, func(t *testing.T) {
			offset := rand.IntN(stride)
			t.Logf("every %d bytes, from byte %d on", stride, offset)
			d := newDamage(t, secret)
			d.tryAll(stride, offset)
			t.Logf("%d objects of %d bytes; %d kinds of damage: %d errors, %d harmless", len(d.objects), d.size(), d.tried.Load(), d.refused.Load(), d.tried.Load()-d.refused.Load())
			t.Logf("%d times a snapshot was damaged, and the log made up for it", d.spared.Load())
			if d.refused.Load() == 0 || d.spared.Load() == 0 {
				t.Error("nothing did any damage, or nothing made up for it")
			}
		})
	}
}

// damage is a backup that is about to be damaged.
type damage struct {
	*testing.T
	secret    []string
	dir       string
	objects   map[string][]byte
	manifests []manifestThen   // older ones
	confirmed int64            // by the manifest
	states    map[int64]string // what the database was, by sequence
	needs     map[string]int64 // to which sequence a restore needs an object
	branch    string           // the id of a branch
	branched  map[int64]string // what that was, by sequence

	tried, refused, spared atomic.Int64
}

type manifestThen struct {
	raw       []byte
	confirmed int64
}

const damagedManifest = "databases/app/manifest.json"

// newDamage makes a backup that has everything in little: an adopted file with
// small pages, two epochs, snapshots, a merged batch whose parts are gone,
// batches that only the manifest after next confirms, a tail that none does, and
// a branch with a snapshot of its own.
func newDamage(t *testing.T, secret string) *damage {
	d := &damage{T: t, dir: systemtest.MemoryDir(t), objects: map[string][]byte{}, states: map[int64]string{}, needs: map[string]int64{}, branched: map[int64]string{}}
	if secret != "" {
		d.secret = []string{secret}
	}
	synctest.Test(t, func(t *testing.T) {
		cfg := systemtest.Config(t)
		cfg.Path, cfg.EncryptionKeys = filepath.Join(d.dir, "source.sqlite"), d.secret
		smallPages(t, cfg.Path)
		first := systemtest.Open(t, cfg, systemtest.Ends(driftdb.ErrFenced))
		note := func(db *driftdb.DB) {
			then := manifestThen{systemtest.Read(t, cfg.Store, damagedManifest), db.Metrics().ConfirmedSequence}
			if n := len(d.manifests); n == 0 || !bytes.Equal(d.manifests[n-1].raw, then.raw) {
				d.manifests = append(d.manifests, then)
			}
		}
		systemtest.Check(t, first.Flush(t.Context())) // with a snapshot of what was adopted
		for i := range 66 {
			systemtest.Exec(t, first, "INSERT INTO t(v) VALUES(?)", fmt.Sprint("merged ", i))
			systemtest.Check(t, first.Flush(t.Context()))
			if i%20 == 0 {
				note(first)
			}
		}
		time.Sleep(25 * time.Hour) // the parts of the merged batch are deleted
		systemtest.Exec(t, first, "UPDATE t SET v = v || '!' WHERE id % 7 = 0")
		systemtest.Check(t, first.Flush(t.Context()))
		note(first)
		firstPath := cfg.Path
		cfg.Path, cfg.AutoRestore = filepath.Join(d.dir, "second.sqlite"), true
		second := systemtest.Open(t, cfg)
		systemtest.Exec(t, second, "CREATE TABLE u(a PRIMARY KEY, b) WITHOUT ROWID")
		if _, err := second.Snapshot(t.Context()); err != nil {
			t.Fatal(err)
		}
		note(second)
		for i := range 3 {
			systemtest.Exec(t, second, "INSERT INTO u VALUES(?, zeroblob(20))", i)
			systemtest.Check(t, second.Flush(t.Context()))
			note(second)
		}
		d.leaveBranch(t, first, firstPath)
		systemtest.Exec(t, second, "DELETE FROM t WHERE id = 5")
		second.StartSync()
		time.Sleep(10 * time.Second) // it is sent, and no manifest says so
		second.StopSync()
		m := second.Metrics()
		if m.SyncedSequence != m.LatestSequence || m.ConfirmedSequence == m.LatestSequence {
			t.Fatalf("the tail: %+v", m)
		}
		d.confirmed = m.ConfirmedSequence
		for _, key := range systemtest.Keys(t, cfg.Store) {
			if !strings.HasSuffix(key, "/probe") {
				d.objects[key] = systemtest.Read(t, cfg.Store, key)
			}
		}
		now := systemtest.Backup(t, cfg)
		for _, s := range now.Snapshots {
			d.needs[s.Key] = s.Sequence
		}
		d.branch = now.Branches[0].ID
		merged := false
		for key := range d.objects {
			var from, to int64
			if strings.Contains(key, "/branches/") {
				continue
			}
			if _, err := fmt.Sscanf(path.Base(key), "%d-%d.e", &from, &to); err == nil {
				d.needs[key] = to
				merged = merged || to-from >= 60
			}
		}
		if !merged {
			t.Fatalf("no merged batch: %q", systemtest.Keys(t, cfg.Store))
		}
		if !slices.ContainsFunc(systemtest.Keys(t, cfg.Store), func(key string) bool { return strings.Contains(key, "/branches/") }) {
			t.Fatal("no branch with a snapshot")
		}
		d.manifests = d.manifests[:len(d.manifests)-1] // the last one is no older one
		for n := int64(1); n <= m.LatestSequence; n++ {
			d.remember(t, cfg.Store, n)
		}
	})
	return d
}

// leaveBranch lets the one that has lost the database write, and learn of it.
// There is a barrier in what it wrote, so a snapshot comes with the branch.
func (d *damage) leaveBranch(t *testing.T, lost *driftdb.DB, file string) {
	t.Helper()
	for _, query := range []string{"INSERT INTO t(v) VALUES('mine')", "VACUUM", "INSERT INTO t(v) VALUES('mine, too')"} {
		systemtest.Exec(t, lost, query)
		dump, err := dbtest.Dump(file)
		systemtest.Check(t, err)
		d.branched[lost.Sequence()] = dump
	}
	if err := lost.Flush(t.Context()); !errors.Is(err, driftdb.ErrFenced) {
		t.Fatalf("the first writer was told %v", err)
	}
}

// smallPages makes a database that is small even as a snapshot.
func smallPages(t *testing.T, file string) {
	t.Helper()
	c, err := new(sqlite.Driver).Open(file, sqlite.Options{KeepJournal: true})
	if err == nil {
		err = errors.Join(c.Exec("PRAGMA page_size=512; CREATE TABLE t(id INTEGER PRIMARY KEY, v TEXT); INSERT INTO t(v) VALUES('adopted')"), c.Close())
	}
	systemtest.Check(t, err)
}

// remember notes what the undamaged backup holds at a sequence.
func (d *damage) remember(t *testing.T, store objstore.Store, sequence int64) {
	t.Helper()
	file := filepath.Join(d.dir, "state.sqlite")
	res, err := driftdb.Restore(t.Context(), driftdb.RestoreConfig{
		Name: "app", Store: store, Path: file, Overwrite: true, EncryptionKeys: d.secret, Sequence: sequence,
	})
	systemtest.Check(t, err)
	dump, err := dbtest.Dump(file)
	systemtest.Check(t, err)
	d.states[res.Sequence] = dump
}

func (d *damage) size() (n int) {
	for _, data := range d.objects {
		n += len(data)
	}
	return n
}

// harm is one way of damaging a backup: data takes the place of what is under
// key, or nothing does if it is nil.
type harm struct {
	what, key string
	data      []byte
	confirmed int64 // what the manifest confirms then, if it can be read
}

// tryAll lets as many workers as there are processors restore what each harm
// leaves.
func (d *damage) tryAll(stride, offset int) {
	todo := make(chan harm)
	var wg sync.WaitGroup
	for i := range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			v := d.newVictim(i)
			for h := range todo {
				v.try(h)
			}
		})
	}
	d.harms(stride, offset, func(h harm) { todo <- h })
	close(todo)
	wg.Wait()
}

// harms yields all ways to damage the backup.
func (d *damage) harms(stride, offset int, yield func(harm)) {
	var names []string
	for key := range d.objects {
		names = append(names, key)
	}
	slices.Sort(names)
	for _, key := range names {
		good := d.objects[key]
		for i := offset; i < len(good); i += stride {
			bad := bytes.Clone(good)
			bad[i] ^= 1 << (i % 8)
			yield(harm{fmt.Sprintf("bit %d of byte %d is flipped", i%8, i), key, bad, d.confirmed})
			yield(harm{fmt.Sprintf("it is cut at %d", i), key, good[:i:i], d.confirmed})
		}
		yield(harm{"there is data after its end", key, append(bytes.Clone(good), '\n'), d.confirmed})
		yield(harm{"it is deleted", key, nil, d.confirmed})
		for _, other := range names {
			if other != key {
				yield(harm{"it is " + other, key, d.objects[other], d.confirmed})
			}
		}
	}
	for i, m := range d.manifests {
		yield(harm{fmt.Sprintf("it is manifest %d", i), damagedManifest, m.raw, m.confirmed})
	}
}

// victim is a copy of the backup that is damaged and repaired again.
type victim struct {
	*damage
	store objstore.Store
	file  string
}

func (d *damage) newVictim(i int) *victim {
	v := &victim{damage: d, store: objstore.Mem(), file: filepath.Join(d.dir, fmt.Sprint("victim", i))}
	for key, data := range d.objects {
		v.put(key, data)
	}
	return v
}

func (v *victim) put(key string, data []byte) {
	if _, err := v.store.Put(context.Background(), key, bytes.NewReader(data), objstore.PutOptions{}); err != nil {
		v.Error(err)
	}
}

func (v *victim) try(h harm) {
	ctx := context.Background()
	if h.data == nil {
		if err := v.store.Delete(ctx, h.key); err != nil {
			v.Error(err)
		}
	} else {
		v.put(h.key, h.data)
	}
	defer v.put(h.key, v.objects[h.key])
	v.tried.Add(1)
	latest := driftdb.RestoreConfig{Name: "app", Store: v.store, Path: v.file, Overwrite: true, EncryptionKeys: v.secret}
	then := latest
	then.Sequence = v.needs[h.key]
	whole, spared := v.restore(h, latest)
	part, _ := v.restore(h, then)
	beside := v.restoreBranch(h, latest)
	if whole != nil || part != nil || beside != nil {
		v.refused.Add(1)
	}
	if spared {
		v.spared.Add(1)
	}
	if _, err := driftdb.Verify(ctx, latest); (err == nil) != (whole == nil && !spared) {
		v.Errorf("%s: %s: Restore says %v, and that it could do without: %v; Verify says %v", h.key, h.what, whole, spared, err)
	}
}

// restoreBranch is right, as far as it gets, or an error, like restore.
func (v *victim) restoreBranch(h harm, cfg driftdb.RestoreConfig) error {
	if !strings.Contains(h.key, "/branches/") && h.key != damagedManifest {
		return nil
	}
	cfg.Branch = v.branch
	res, err := driftdb.Restore(context.Background(), cfg)
	if err != nil {
		v.known(h, err)
		return err
	}
	dump, err := dbtest.Dump(v.file)
	if err != nil {
		v.Error(err)
	}
	want, known := v.branched[res.Sequence]
	if before, there := v.states[res.Sequence]; !known && there { // it ends where it leaves the history
		want, known = before, true
	}
	if !known || dump != want {
		v.Errorf("%s: %s: wrong data at sequence %d of the branch, in silence", h.key, h.what, res.Sequence)
	}
	return nil
}

// known sees to it that an error is of one of the kinds that callers know.
func (v *victim) known(h harm, err error) {
	if !slices.ContainsFunc([]error{driftdb.ErrCorrupt, driftdb.ErrKey, driftdb.ErrNoBackup, driftdb.ErrVersion}, func(is error) bool { return errors.Is(err, is) }) {
		v.Errorf("%s: %s: an error of no kind: %v", h.key, h.what, err)
	}
}

// restore is right, or an error of one of the kinds that callers know, which it
// returns. It also says whether it could do without something damaged.
func (v *victim) restore(h harm, cfg driftdb.RestoreConfig) (err error, spared bool) {
	res, err := driftdb.Restore(context.Background(), cfg)
	if err != nil {
		v.known(h, err)
		return err, false
	}
	dump, err := dbtest.Dump(v.file)
	if err != nil {
		v.Error(err)
	}
	least := h.confirmed
	if cfg.Sequence != 0 {
		least = min(least, cfg.Sequence)
	}
	// As an older manifest knows it, what became a branch goes on with the history.
	older := h.key == damagedManifest && strings.HasPrefix(h.what, "it is manifest")
	switch want, known := v.states[res.Sequence]; {
	case older && dump == v.branched[res.Sequence]:
	case !known || dump != want:
		v.Errorf("%s: %s: wrong data at sequence %d, in silence", h.key, h.what, res.Sequence)
	case res.Sequence < least || cfg.Sequence != 0 && res.Sequence > cfg.Sequence:
		v.Errorf("%s: %s: restored up to %d, wanted %d; the manifest confirms %d", h.key, h.what, res.Sequence, cfg.Sequence, h.confirmed)
	}
	return nil, len(res.Damaged) > 0
}
