package backup_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/dbtest"
	"github.com/driftdb/driftdb-go/internal/seal"
	"github.com/driftdb/driftdb-go/internal/systemtest"
	"github.com/driftdb/driftdb-go/objstore"
)

// damaged is a backup, the file of the one who wrote it last, which is closed, and what
// a repair is to find.
type damaged struct {
	cfg       driftdb.Config
	snapshots int
	from      int64 // the first change
	sequence  int64 // the last one; 0: the file's
	left      int   // objects
	branches  int
	diverged  bool // the file cannot go on
	file      bool // the file is needed: of a table that never changed later, the bucket does not tell the digest
}

func manifestOf(cfg driftdb.Config) string { return "databases/" + cfg.Name + "/manifest.json" }

// without deletes objects whose keys have all of parts, and says how many.
func without(t *testing.T, store objstore.Store, parts ...string) (n int) {
	t.Helper()
	for _, key := range systemtest.Keys(t, store) {
		if !slices.ContainsFunc(parts, func(p string) bool { return !strings.Contains(key, p) }) {
			systemtest.Check(t, store.Delete(t.Context(), key))
			n++
		}
	}
	if n == 0 {
		t.Fatalf("no object has %q: %q", parts, systemtest.Keys(t, store))
	}
	return n
}

func put(t *testing.T, store objstore.Store, key string, data []byte) {
	t.Helper()
	_, err := store.Put(t.Context(), key, bytes.NewReader(data), objstore.PutOptions{})
	systemtest.Check(t, err)
}

// histories are the backups that are repaired. Each writes with cfg.
var histories = []struct {
	name  string
	write func(t *testing.T, cfg driftdb.Config) damaged
}{
	{"batches", func(t *testing.T, cfg driftdb.Config) damaged {
		db := systemtest.Open(t, cfg)
		for range 3 {
			systemtest.Some(t, db, "t", 2)
			systemtest.Check(t, db.Flush(t.Context()))
		}
		systemtest.Check(t, db.Close())
		return damaged{cfg: cfg}
	}},
	{"snapshots", func(t *testing.T, cfg driftdb.Config) damaged {
		db := systemtest.Open(t, cfg)
		snapshots(t, db)
		systemtest.Check(t, db.Close())
		return damaged{cfg: cfg, snapshots: 3}
	}},
	{"pruned beginning", func(t *testing.T, cfg driftdb.Config) damaged {
		db := systemtest.Open(t, cfg)
		snapshots(t, db)
		systemtest.Check(t, db.Close())
		without(t, cfg.Store, "/logs/000000000001-")
		return damaged{cfg: cfg, snapshots: 3, from: 5, file: true}
	}},
	{"a file that was there", func(t *testing.T, cfg driftdb.Config) damaged {
		db := systemtest.Open(t, driftdb.Config{Name: cfg.Name, Path: cfg.Path, ManualSync: true})
		systemtest.Some(t, db, "old", 20)
		systemtest.Check(t, db.Close())
		systemtest.Check(t, driftdb.Detach(cfg.Path))
		db = systemtest.Open(t, cfg)
		systemtest.Check(t, db.Flush(t.Context()))
		snapshots(t, db)
		systemtest.Exec(t, db, "INSERT INTO old(v) VALUES('new')")
		systemtest.Check(t, db.Close())
		return damaged{cfg: cfg, snapshots: 4, file: true}
	}},
	{"takeover", func(t *testing.T, cfg driftdb.Config) damaged {
		first := systemtest.Open(t, cfg, systemtest.Ends(driftdb.ErrFenced))
		systemtest.Some(t, first, "t", 3)
		systemtest.Check(t, first.Flush(t.Context()))
		other, cfg := takesOver(t, cfg, "CREATE TABLE taken(v)")
		systemtest.Some(t, other, "t", 3)
		systemtest.Check(t, other.Flush(t.Context()))
		systemtest.Some(t, first, "t", 9) // a branch, which is longer
		if err := first.Flush(t.Context()); !errors.Is(err, driftdb.ErrFenced) {
			t.Fatal(err)
		}
		if slices.ContainsFunc(systemtest.Keys(t, cfg.Store), func(k string) bool { return strings.Contains(k, "/branches/") }) {
			t.Fatal("the branch has a manifest, which would tell")
		}
		_, err := other.Snapshot(t.Context())
		systemtest.Check(t, err)
		systemtest.Check(t, other.Close())
		return damaged{cfg: cfg, snapshots: 1, branches: 1, left: 1}
	}},
	{"branch with a manifest", func(t *testing.T, cfg driftdb.Config) damaged {
		first := systemtest.Open(t, cfg, systemtest.Ends(driftdb.ErrFenced))
		systemtest.Some(t, first, "t", 3)
		systemtest.Check(t, first.Flush(t.Context()))
		other, cfg := takesOver(t, cfg, "CREATE TABLE taken(v)")
		systemtest.Some(t, first, "t", 9)
		_, err := other.Snapshot(t.Context()) // so the base of the branch is not kept
		systemtest.Check(t, err)
		systemtest.Some(t, other, "t", 1)
		if err := first.Flush(t.Context()); !errors.Is(err, driftdb.ErrFenced) {
			t.Fatal(err)
		}
		systemtest.Check(t, other.Close())
		return damaged{cfg: cfg, snapshots: 1, branches: 1, left: 1}
	}},
	{"branch of one whose successor has stored nothing", func(t *testing.T, cfg driftdb.Config) damaged {
		first := systemtest.Open(t, cfg, systemtest.Ends(driftdb.ErrFenced))
		systemtest.Some(t, first, "t", 3)
		systemtest.Check(t, first.Flush(t.Context()))
		other, after := takesOver(t, cfg, "")
		_, err := other.Snapshot(t.Context())
		systemtest.Check(t, err)
		systemtest.Some(t, first, "t", 9)
		if err := first.Flush(t.Context()); !errors.Is(err, driftdb.ErrFenced) {
			t.Fatal(err)
		}
		systemtest.Check(t, other.Close())
		return damaged{cfg: after, snapshots: 1, branches: 1, left: 1, sequence: 4}
	}},
	{"merged batches", func(t *testing.T, cfg driftdb.Config) damaged {
		cfg.MaxBatchSize = 1
		db := systemtest.Open(t, cfg)
		systemtest.Some(t, db, "t", 70)
		systemtest.Check(t, db.Flush(t.Context()))
		_, _, err := db.CollectGarbage(t.Context())
		systemtest.Check(t, err)
		if wide := "/logs/000000000001-000000000064."; !slices.ContainsFunc(systemtest.Keys(t, cfg.Store), func(k string) bool { return strings.Contains(k, wide) }) {
			t.Fatalf("nothing was merged: %q", systemtest.Keys(t, cfg.Store))
		}
		systemtest.Check(t, db.Close())
		return damaged{cfg: cfg}
	}},
	{"junk", func(t *testing.T, cfg driftdb.Config) damaged {
		db := systemtest.Open(t, cfg)
		snapshots(t, db)
		systemtest.Check(t, db.Close())
		node := "databases/app/nodes/" + db.NodeID()
		put(t, cfg.Store, node+"/logs/000000000099-000000000200.e77.json", []byte("junk"))
		put(t, cfg.Store, node+"/logs/000000000001-000000000009.e1.json", []byte("junk"))
		put(t, cfg.Store, node+"/snapshots/17.sqlite", []byte("junk"))
		put(t, cfg.Store, node+"/branches/000000000001-000000000009.e1.json", []byte("junk"))
		put(t, cfg.Store, node+"/notes.txt", []byte("junk"))
		// And objects of another database.
		stranger := systemtest.Config(t)
		stranger.Store = objstore.Mem()
		other := systemtest.Open(t, stranger)
		systemtest.Some(t, other, "t", 30)
		_, err := other.Snapshot(t.Context())
		systemtest.Check(t, err)
		n := 5
		for key, data := range systemtest.BucketOf(t, stranger.Store) {
			if strings.Contains(key, "/logs/") || strings.Contains(key, "/snapshots/") {
				put(t, cfg.Store, key, data)
				n++
			}
		}
		return damaged{cfg: cfg, snapshots: 3, left: n}
	}},
	{"a batch is missing before a snapshot", func(t *testing.T, cfg driftdb.Config) damaged {
		db := systemtest.Open(t, cfg)
		snapshots(t, db)
		systemtest.Check(t, db.Close())
		without(t, cfg.Store, "/logs/000000000005-")
		return damaged{cfg: cfg, snapshots: 2, from: 9, left: 2, file: true}
	}},
	{"a batch is missing", func(t *testing.T, cfg driftdb.Config) damaged {
		cfg.MaxBatchSize = 1
		db := systemtest.Open(t, cfg, systemtest.Ends(driftdb.ErrDiverged))
		systemtest.Some(t, db, "t", 9)
		systemtest.Check(t, db.Flush(t.Context()))
		systemtest.Check(t, db.Close())
		without(t, cfg.Store, "/logs/000000000007-")
		return damaged{cfg: cfg, sequence: 6, left: 3, diverged: true}
	}},
}

// snapshots makes three snapshots, after changes 4, 8 and 12, and one change more.
func snapshots(t *testing.T, db *driftdb.DB) {
	t.Helper()
	for i := range 3 {
		systemtest.Exec(t, db, fmt.Sprintf("CREATE TABLE t%d(id INTEGER PRIMARY KEY, v)", i))
		systemtest.Exec(t, db, fmt.Sprintf("INSERT INTO t%d(v) VALUES(1)", i))
		systemtest.Exec(t, db, "UPDATE t0 SET v = v + 1")
		systemtest.Exec(t, db, fmt.Sprintf("CREATE INDEX i%d ON t%d(v)", i, i)) // which no digest tells
		_, err := db.Snapshot(t.Context())
		systemtest.Check(t, err)
	}
	systemtest.Exec(t, db, "UPDATE t0 SET v = v + 1")
	systemtest.Check(t, db.Flush(t.Context()))
}

// takesOver opens the backup of cfg on another machine, which becomes its writer.
func takesOver(t *testing.T, cfg driftdb.Config, sql string) (*driftdb.DB, driftdb.Config) {
	t.Helper()
	cfg.Path, cfg.AutoRestore, cfg.NodeID = filepath.Join(t.TempDir(), "other.sqlite"), true, "other"
	db := systemtest.Open(t, cfg)
	systemtest.Exec(t, db, sql)
	systemtest.Check(t, db.Flush(t.Context()))
	return db, cfg
}

// TestRepair deletes the manifest of backups of every kind. A repair finds what the
// history was: a restore gives the same, and the file of the last writer goes on with it.
func TestRepair(t *testing.T) {
	for _, h := range histories {
		for _, keys := range [][]string{nil, {strings.Repeat("ab", 32), strings.Repeat("cd", 32)}} {
			if testing.Short() && keys != nil {
				continue
			}
			t.Run(fmt.Sprintf("%s/%d keys", h.name, len(keys)), func(t *testing.T) {
				cfg := systemtest.Config(t)
				cfg.EncryptionKeys = keys
				d := h.write(t, cfg)
				systemtest.Check(t, d.cfg.Store.Delete(t.Context(), manifestOf(d.cfg)))
				d.repaired(t)
			})
		}
	}
}

func (d damaged) repaired(t *testing.T) {
	t.Helper()
	ctx, cfg := t.Context(), d.cfg
	place := driftdb.RestoreConfig{Name: cfg.Name, Store: cfg.Store, EncryptionKeys: cfg.EncryptionKeys}
	before := systemtest.Keys(t, cfg.Store)
	var o driftdb.RepairOptions
	if d.file {
		o.File = cfg.Path
	}
	dry, err := driftdb.Repair(ctx, systemtest.BackupOf(place), driftdb.RepairOptions{DryRun: true, File: o.File})
	systemtest.Check(t, err)
	if after := systemtest.Keys(t, cfg.Store); !slices.Equal(before, after) {
		t.Fatalf("a dry run has changed the bucket: %q", after)
	}
	res, err := driftdb.Repair(ctx, systemtest.BackupOf(place), o)
	systemtest.Check(t, err)
	if dry.Restored.Sequence != res.Restored.Sequence || len(dry.Left) != len(res.Left) {
		t.Errorf("the dry run said %+v, not %+v", dry, res)
	}
	if d.file && len(res.Snapshots) > 0 && res.From == max(d.from, 1) {
		d.snapshots, d.left = len(res.Snapshots), len(res.Left) // older ones may not be provable
	}
	if len(res.Snapshots) != d.snapshots || res.From != max(d.from, 1) || len(res.Left) != d.left {
		t.Errorf("%d snapshots, from %d, left %v; want %d, %d, %d", len(res.Snapshots), res.From, res.Left, d.snapshots, max(d.from, 1), d.left)
	}
	if _, err := driftdb.Repair(ctx, systemtest.BackupOf(place), driftdb.RepairOptions{Force: true}); err == nil || !strings.Contains(err.Error(), "nothing to repair") {
		t.Errorf("a second repair: %v", err)
	}
	v, err := driftdb.Verify(ctx, place)
	systemtest.Check(t, err)
	if d.sequence != 0 && v.Sequence != d.sequence {
		t.Errorf("sequence %d, want %d", v.Sequence, d.sequence)
	}
	info := systemtest.Backup(t, cfg)
	if len(info.Branches) < d.branches {
		t.Fatalf("%d branches, want %d", len(info.Branches), d.branches)
	}
	for _, b := range info.Branches[:d.branches] {
		place.Path, place.Branch = filepath.Join(t.TempDir(), "branch.sqlite"), b.ID
		if res, err := driftdb.Restore(ctx, place); err != nil || res.Sequence != b.To {
			t.Errorf("branch %s: to %d, %v", b.ID, res.Sequence, err)
		}
	}
	for _, s := range res.Snapshots { // each is a point, and what follows it can be reached
		place.Path, place.Branch, place.Sequence = filepath.Join(t.TempDir(), "point.sqlite"), "", s.Sequence
		if r, err := driftdb.Restore(ctx, place); err != nil || r.Sequence != s.Sequence {
			t.Errorf("point %d: %d, %v", s.Sequence, r.Sequence, err)
		}
	}
	if d.diverged {
		cfg.ManualSync = false
		if db, err := driftdb.Open(ctx, cfg); !errors.Is(err, driftdb.ErrDiverged) {
			t.Errorf("the file of the writer: %v", err)
			if err == nil {
				systemtest.Check(t, db.Close())
			}
		}
		return
	}
	db := systemtest.Open(t, cfg) // at the end, this compares
	systemtest.Check(t, systemtest.RestoreAndCompare(db, cfg, t.TempDir()))
	systemtest.Exec(t, db, "CREATE TABLE later(v)")
	systemtest.Check(t, systemtest.RestoreAndCompare(db, cfg, t.TempDir()))
}

// TestRepairDamaged: a manifest that is damaged is replaced when somebody says so, once it
// was told what it was, and one that is whole never.
func TestRepairDamaged(t *testing.T) {
	ctx, cfg := t.Context(), systemtest.Config(t)
	db := systemtest.Open(t, cfg)
	systemtest.Some(t, db, "t", 3)
	systemtest.Check(t, db.Flush(ctx))
	systemtest.Check(t, db.Close())
	place := driftdb.RestoreConfig{Name: cfg.Name, Store: cfg.Store}
	if _, err := driftdb.Repair(ctx, systemtest.BackupOf(place), driftdb.RepairOptions{Force: true}); err == nil {
		t.Error("a whole manifest was repaired")
	}
	id := systemtest.Backup(t, cfg).DatabaseID
	whole := systemtest.BucketOf(t, cfg.Store)[manifestOf(cfg)]
	for _, cut := range [][]byte{bytes.Replace(whole, []byte(`"latestLogSequence": 4`), []byte(`"latestLogSequence": 3`), 1), whole[:len(whole)/2], nil} {
		put(t, cfg.Store, manifestOf(cfg), cut)
		res, err := driftdb.Repair(ctx, systemtest.BackupOf(place), driftdb.RepairOptions{})
		if !errors.Is(err, driftdb.ErrCorrupt) || !strings.Contains(err.Error(), "damaged") {
			t.Errorf("without Force: %v", err)
		}
		if bytes.Contains(cut, []byte("updatedAt")) && !strings.Contains(res.Was, id) {
			t.Errorf("it was %q", res.Was)
		}
		_, err = driftdb.Repair(ctx, systemtest.BackupOf(place), driftdb.RepairOptions{Force: true})
		systemtest.Check(t, err)
		_, err = driftdb.Verify(ctx, place)
		systemtest.Check(t, err)
	}
}

// TestRepairID: the id of the database is needed. New probes tell it; without one the
// file does, or whoever runs the repair.
func TestRepairID(t *testing.T) {
	for _, keys := range [][]string{nil, {strings.Repeat("ab", 32)}} {
		ctx, cfg := t.Context(), systemtest.Config(t)
		cfg.EncryptionKeys = keys
		db := systemtest.Open(t, cfg)
		systemtest.Some(t, db, "t", 3)
		systemtest.Check(t, db.Flush(ctx))
		systemtest.Check(t, db.Close())
		id := systemtest.Backup(t, cfg).DatabaseID
		place := driftdb.RestoreConfig{Name: cfg.Name, Store: cfg.Store, EncryptionKeys: keys}
		probe := "databases/app/nodes/" + db.NodeID() + "/probe"
		for _, c := range []struct {
			o  driftdb.RepairOptions
			ok bool
		}{
			{driftdb.RepairOptions{}, false},
			{driftdb.RepairOptions{DatabaseID: "0b6f3a52-6f0e-4c1d-9d55-3d9a6b1c2e10"}, false},
			{driftdb.RepairOptions{DatabaseID: id}, true},
			{driftdb.RepairOptions{File: cfg.Path}, true},
		} {
			systemtest.Check(t, cfg.Store.Delete(ctx, manifestOf(cfg)))
			put(t, cfg.Store, probe, []byte("DriftDB looks whether this object can be overwritten.\n"))
			_, err := driftdb.Repair(ctx, systemtest.BackupOf(place), c.o)
			if (err == nil) != c.ok || err != nil && !strings.Contains(err.Error(), "ID") {
				t.Errorf("%+v: %v", c.o, err)
			}
			if err != nil {
				_, err = driftdb.Repair(ctx, systemtest.BackupOf(place), driftdb.RepairOptions{DatabaseID: id})
				systemtest.Check(t, err)
			}
		}
	}
}

// TestRepairSnapshotAlone: of a backup that has been quiet for long, a snapshot is all that
// is left. The file tells where it belongs.
func TestRepairSnapshotAlone(t *testing.T) {
	ctx, cfg := t.Context(), systemtest.Config(t)
	db := systemtest.Open(t, cfg)
	snapshots(t, db)
	_, err := db.Snapshot(ctx)
	systemtest.Check(t, err)
	systemtest.Check(t, db.Close())
	without(t, cfg.Store, "/logs/")
	systemtest.Check(t, cfg.Store.Delete(ctx, manifestOf(cfg)))
	place := driftdb.RestoreConfig{Name: cfg.Name, Store: cfg.Store}
	if _, err := driftdb.Repair(ctx, systemtest.BackupOf(place), driftdb.RepairOptions{}); !errors.Is(err, driftdb.ErrCorrupt) {
		t.Fatalf("without the file: %v", err)
	}
	res, err := driftdb.Repair(ctx, systemtest.BackupOf(place), driftdb.RepairOptions{File: cfg.Path})
	systemtest.Check(t, err)
	if len(res.Snapshots) != 1 || len(res.Left) != 3 || res.Restored.Sequence != 13 {
		t.Errorf("%+v", res)
	}
	db = systemtest.Open(t, cfg)
	systemtest.Exec(t, db, "CREATE TABLE later(v)")
	systemtest.Check(t, systemtest.RestoreAndCompare(db, cfg, t.TempDir()))
}

// TestRepairSameRows: a snapshot has the rows of a later place too, but not the index that
// was made in between, and the log of its own place is gone.
func TestRepairSameRows(t *testing.T) {
	ctx, cfg := t.Context(), systemtest.Config(t)
	db := systemtest.Open(t, cfg)
	systemtest.Exec(t, db, "CREATE TABLE t(id INTEGER PRIMARY KEY, v); INSERT INTO t VALUES(1, 1)")
	early, err := db.Snapshot(ctx)
	systemtest.Check(t, err)
	for !time.Now().After(early.Time.Add(time.Millisecond)) {
		runtime.Gosched()
	}
	systemtest.Exec(t, db, "CREATE INDEX i ON t(v); INSERT INTO t VALUES(2, 2)")
	late, err := db.Snapshot(ctx)
	systemtest.Check(t, err)
	for _, key := range systemtest.Keys(t, cfg.Store) {
		if strings.Contains(key, "/logs/") {
			systemtest.Check(t, cfg.Store.Delete(ctx, key))
		}
	}
	systemtest.Exec(t, db, "DELETE FROM t WHERE id = 2")
	systemtest.Check(t, db.Flush(ctx))
	systemtest.Check(t, db.Close())
	systemtest.Check(t, cfg.Store.Delete(ctx, manifestOf(cfg)))
	place := driftdb.RestoreConfig{Name: cfg.Name, Store: cfg.Store}
	res, err := driftdb.Repair(ctx, systemtest.BackupOf(place), driftdb.RepairOptions{File: cfg.Path})
	systemtest.Check(t, err)
	if len(res.Snapshots) != 1 || res.Snapshots[0].Key != late.Key || len(res.Left) != 1 || res.Left[0].Key != early.Key {
		t.Errorf("%+v", res)
	}
	place.Path = filepath.Join(t.TempDir(), "restored.sqlite")
	_, err = driftdb.Restore(ctx, place)
	systemtest.Check(t, err)
	dbtest.Equal(t, cfg.Path, place.Path)
}

// TestRepairRandom repairs backups of random small histories. "make repairs" does many.
func TestRepairRandom(t *testing.T) {
	rounds := systemtest.Setting(t, "DRIFTDB_REPAIRS", 6)
	if testing.Short() {
		rounds = 2
	}
	seed := uint64(systemtest.Setting(t, "DRIFTDB_SEED", int(rand.Uint32())))
	t.Logf("DRIFTDB_SEED=%d", seed)
	for round := range rounds {
		t.Run(fmt.Sprint(round), func(t *testing.T) { repairRandom(t, rand.New(rand.NewPCG(seed, uint64(round)))) })
	}
}

func repairRandom(t *testing.T, rng *rand.Rand) {
	ctx, cfg := t.Context(), systemtest.Config(t)
	if rng.IntN(2) == 0 {
		cfg.EncryptionKeys = []string{strings.Repeat("ab", 32)}
	}
	cfg.MaxBatchSize = 1 + rng.IntN(8)
	db := systemtest.Open(t, cfg)
	systemtest.Exec(t, db, "CREATE TABLE t(id INTEGER PRIMARY KEY, v)")
	for range 10 + rng.IntN(40) {
		switch rng.IntN(12) {
		case 0:
			systemtest.Exec(t, db, fmt.Sprintf("CREATE TABLE IF NOT EXISTS t%d(v)", rng.IntN(5)))
		case 1:
			systemtest.Exec(t, db, fmt.Sprintf("DROP TABLE IF EXISTS t%d", rng.IntN(5)))
		case 2:
			systemtest.Exec(t, db, fmt.Sprintf("CREATE INDEX IF NOT EXISTS i%d ON t(v)", rng.IntN(3)))
		case 3:
			systemtest.Exec(t, db, "DELETE FROM t WHERE id % 3 = 0")
		case 4:
			_, err := db.Snapshot(ctx)
			systemtest.Check(t, err)
		case 5:
			systemtest.Check(t, db.Flush(ctx))
		case 6:
			systemtest.Check(t, db.Close())
			db = systemtest.Open(t, cfg)
		case 7:
			systemtest.Exec(t, db, fmt.Sprintf("ALTER TABLE t ADD COLUMN c%d DEFAULT 7", rng.IntN(1<<30)))
		case 8:
			systemtest.Exec(t, db, "UPDATE t SET v = v") // nothing that a digest tells
		case 9:
			systemtest.Exec(t, db, "ALTER TABLE t RENAME TO u; ALTER TABLE u RENAME TO t")
		default:
			systemtest.Exec(t, db, "INSERT INTO t(v) VALUES(?)", rng.IntN(5))
		}
	}
	systemtest.Check(t, db.Flush(ctx))
	systemtest.Check(t, db.Close())
	info := systemtest.Backup(t, cfg)
	if last := len(info.Snapshots) - 1; last > 0 && rng.IntN(2) == 0 { // as a collection of garbage does
		for _, key := range systemtest.Keys(t, cfg.Store) {
			var from, to, epoch int64
			if _, name, ok := strings.Cut(key, "/logs/"); ok {
				_, err := fmt.Sscanf(name, "%d-%d.e%d.json", &from, &to, &epoch)
				systemtest.Check(t, err)
				if to <= info.Snapshots[last].Sequence {
					systemtest.Check(t, cfg.Store.Delete(ctx, key))
				}
			}
		}
	}
	systemtest.Check(t, cfg.Store.Delete(ctx, manifestOf(cfg)))
	place := driftdb.RestoreConfig{Name: cfg.Name, Store: cfg.Store, EncryptionKeys: cfg.EncryptionKeys}
	res, err := driftdb.Repair(ctx, systemtest.BackupOf(place), driftdb.RepairOptions{File: cfg.Path})
	systemtest.Check(t, err)
	if res.Restored.Sequence != info.Sequence {
		t.Errorf("the history ends with %d, not %d", res.Restored.Sequence, info.Sequence)
	}
	place.Path = filepath.Join(t.TempDir(), "restored.sqlite")
	_, err = driftdb.Restore(ctx, place)
	systemtest.Check(t, err)
	dbtest.Equal(t, cfg.Path, place.Path)
}

// TestRepairMeetsWriter: a writer that knows that it has no manifest goes on with the new
// one. One that has noticed nothing is fenced, and what it had not sent is a branch.
func TestRepairMeetsWriter(t *testing.T) {
	for _, noticed := range []bool{false, true} {
		ctx, cfg := t.Context(), systemtest.Config(t)
		var ends error
		if !noticed {
			ends = driftdb.ErrFenced
		}
		db := systemtest.Open(t, cfg, systemtest.Ends(ends))
		systemtest.Some(t, db, "t", 3)
		systemtest.Check(t, db.Flush(ctx))
		systemtest.Check(t, cfg.Store.Delete(ctx, manifestOf(cfg)))
		systemtest.Exec(t, db, "INSERT INTO t(v) VALUES('meanwhile')")
		if noticed {
			wantGone(t, db)
			if err := db.Flush(ctx); !errors.Is(err, driftdb.ErrCorrupt) {
				t.Errorf("a writer without a manifest: %v", err)
			}
		}
		_, err := driftdb.Repair(ctx, driftdb.BackupConfig{Name: cfg.Name, Store: cfg.Store}, driftdb.RepairOptions{})
		systemtest.Check(t, err)
		err = db.Flush(ctx)
		if noticed {
			systemtest.Check(t, err)
			continue
		}
		if !errors.Is(err, driftdb.ErrFenced) {
			t.Errorf("a writer that has noticed nothing: %v", err)
		}
		branches := systemtest.Backup(t, cfg).Branches
		if len(branches) != 1 {
			t.Fatalf("branches %+v", branches)
		}
		equalsBranch(t, cfg, branches[0])
	}
}

// TestRepairKeys: objects of several keys need all of them.
func TestRepairKeys(t *testing.T) {
	ctx, cfg := t.Context(), systemtest.Config(t)
	older, newer := strings.Repeat("ab", 32), strings.Repeat("cd", 32)
	for _, ring := range [][]string{{older}, {newer, older}} {
		cfg.EncryptionKeys = ring
		db, err := driftdb.Open(ctx, cfg)
		systemtest.Check(t, err)
		systemtest.Some(t, db, "t", 3)
		_, err = db.Snapshot(ctx)
		systemtest.Check(t, err)
		systemtest.Check(t, db.Close())
	}
	systemtest.Check(t, cfg.Store.Delete(ctx, manifestOf(cfg)))
	place := driftdb.RestoreConfig{Name: cfg.Name, Store: cfg.Store}
	for _, ring := range [][]string{{older}, {newer}, {strings.Repeat("ef", 32)}} {
		place.EncryptionKeys = ring
		if _, err := driftdb.Repair(ctx, systemtest.BackupOf(place), driftdb.RepairOptions{}); !errors.Is(err, driftdb.ErrKey) {
			t.Errorf("with the key %.2s: %v", ring[0], err)
		}
	}
	place.EncryptionKeys = nil
	if _, err := driftdb.Repair(ctx, systemtest.BackupOf(place), driftdb.RepairOptions{File: cfg.Path}); !errors.Is(err, driftdb.ErrKey) {
		t.Errorf("without a key: %v", err)
	}
	// A stranger's object under another key is left out when that is said.
	sealed, err := seal.ParseKeys([]string{strings.Repeat("ef", 32)})
	systemtest.Check(t, err)
	var strange bytes.Buffer
	w, err := seal.NewWriter(&strange, seal.Options{Ring: sealed}, seal.Context{})
	systemtest.Check(t, err)
	_, err = w.Write([]byte("junk"))
	systemtest.Check(t, errors.Join(err, w.Close()))
	junk := "databases/app/nodes/x/logs/000000000001-000000000009.e9.json"
	put(t, cfg.Store, junk, strange.Bytes())
	place.EncryptionKeys = cfg.EncryptionKeys
	if _, err := driftdb.Repair(ctx, systemtest.BackupOf(place), driftdb.RepairOptions{}); !errors.Is(err, driftdb.ErrKey) || !strings.Contains(err.Error(), junk) {
		t.Errorf("with a stranger's object: %v", err)
	}
	res, err := driftdb.Repair(ctx, systemtest.BackupOf(place), driftdb.RepairOptions{Force: true})
	systemtest.Check(t, err)
	if len(res.Left) != 1 || res.Left[0].Key != junk || len(res.Snapshots) != 2 {
		t.Errorf("%+v", res)
	}
	systemtest.Check(t, errors.Join(cfg.Store.Delete(ctx, junk), cfg.Store.Delete(ctx, manifestOf(cfg))))
	damaged{cfg: cfg, snapshots: 2}.repaired(t)
}
