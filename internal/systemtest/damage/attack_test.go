package damage_test

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/dbtest"
	"github.com/driftdb/driftdb-go/internal/sqlite"
	"github.com/driftdb/driftdb-go/internal/systemtest"
	"github.com/driftdb/driftdb-go/objstore"
)

var update = flag.Bool("update", false, "write the table of attacks into docs/FORMAT.md")

// The bucket that is attacked. Change 1 makes the table t; each further change inserts
// its own sequence number, so that a point's rows are known.
//
//	node n, epoch 1   batch 1-2, snapshot at 2, confirmed; then a branch from 3
//	node m, epoch 2   batch 3-4, confirmed by the old manifest; snapshot at 4
//	node m, epoch 3   batch 5, confirmed, by the writer that is running
const (
	confirmed    = 5 // sequences
	oldConfirmed = 4 // of them, by the old manifest
)

// targets are the objects that are attacked: how their keys begin, and end, below the
// database's folder.
var targets = []struct {
	name, begins, ends string
	batch, snapshot    bool
	from, to           int64 // that it is needed for, if it is a batch; to, if it is a snapshot
}{
	{name: "manifest", begins: "manifest.json"},
	{name: "newest batch", begins: "nodes/m/logs/000000000005-", batch: true, from: 5, to: 5},
	{name: "middle batch", begins: "nodes/m/logs/000000000003-", batch: true, from: 3, to: 4},
	{name: "snapshot", begins: "nodes/m/snapshots/", snapshot: true, to: 4},
	{name: "branch manifest", begins: "nodes/n/branches/", ends: ".json"},
}

var attacks = []string{"old", "stranger's", "junk", "cut", "missing"}

// restorable is the rule: a confirmed point can be restored if the manifest in the
// bucket is one that confirms it, and the objects that it needs are unharmed: all batches
// from the beginning or from an unharmed snapshot on. The first batch and the first
// snapshot, at 2, are never attacked.
func restorable(point int64, target int, attack string) bool {
	o := targets[target]
	switch {
	case o.name == "manifest":
		return attack == "old" && point <= oldConfirmed
	case o.batch: // the bases are the beginning, and the snapshots at 2 and at 4
		base := int64(0)
		for _, at := range []int64{2, 4} {
			if at <= point {
				base = at
			}
		}
		return point < o.from || base >= o.to
	}
	return true // without this snapshot, the log has all that it has
}

// find returns the one key of database name that is targets[target].
func find(t *testing.T, b systemtest.Bucket, name string, target int) string {
	t.Helper()
	var found []string
	for key := range b {
		rest, ok := strings.CutPrefix(key, "databases/"+name+"/")
		if ok && strings.HasPrefix(rest, targets[target].begins) && strings.HasSuffix(rest, targets[target].ends) {
			found = append(found, key)
		}
	}
	if len(found) != 1 {
		t.Fatalf("%s of %s: %q, of %q", targets[target].name, name, found, slices.Sorted(maps.Keys(b)))
	}
	return found[0]
}

// attacked is a database before its last change, closed, with what an attacker has.
type attacked struct {
	cfg      driftdb.Config // of the writer, node m
	bucket   systemtest.Bucket
	old      systemtest.Bucket // what has been in the bucket before, under the names of targets
	stranger systemtest.Bucket // of another database with the same keys and names of objects
}

// newAttacked makes database name up to change 4, in dir. Its rows begin with prefix.
func newAttacked(t *testing.T, dir, name, prefix string, keys []string) *attacked {
	ctx := t.Context()
	cfg := driftdb.Config{Name: name, Store: objstore.Mem(), ManualSync: true, EncryptionKeys: keys}
	node := func(id string) *driftdb.DB {
		cfg.NodeID, cfg.Path, cfg.AutoRestore = id, filepath.Join(dir, name+"-"+id+".sqlite"), true
		db, err := driftdb.Open(ctx, cfg)
		systemtest.Check(t, err)
		return db
	}
	insert := func(db *driftdb.DB, v string) { systemtest.Exec(t, db, "INSERT INTO t VALUES(?)", prefix+v) }
	n := node("n")
	systemtest.Exec(t, n, "CREATE TABLE t(v)")
	insert(n, "2")
	systemtest.Check(t, n.Flush(ctx))
	_, err := n.Snapshot(ctx)
	systemtest.Check(t, err)
	first := systemtest.BucketOf(t, cfg.Store)
	m := node("m")
	insert(m, "3")
	insert(m, "4")
	systemtest.Check(t, m.Flush(ctx))
	old := systemtest.BucketOf(t, cfg.Store)
	_, err = m.Snapshot(ctx)
	systemtest.Check(t, err)
	insert(n, "mine")
	if err := n.Flush(ctx); !errors.Is(err, driftdb.ErrFenced) {
		t.Fatalf("the writer that lost: %v", err)
	}
	systemtest.Check(t, n.Close())
	systemtest.Check(t, m.Close())
	a := &attacked{cfg: cfg, bucket: systemtest.BucketOf(t, cfg.Store), old: systemtest.Bucket{}}
	manifest := "databases/" + name + "/manifest.json"
	for key, data := range first {
		switch {
		case strings.Contains(key, "/logs/"): // an older batch under the name of a newer
			a.old["newest batch"], a.old["middle batch"] = data, data
		case strings.Contains(key, "/snapshots/"):
			a.old["snapshot"] = data
		}
	}
	a.old["manifest"], a.old["branch manifest"] = old[manifest], old[manifest]
	return a
}

// run opens the database at path, a copy of the closed one, over a store that has the
// bucket's objects, and confirms change 5.
func (a *attacked) run(t *testing.T, path, value string) (*driftdb.DB, driftdb.Config) {
	t.Helper()
	cfg := a.cfg
	cfg.Path, cfg.Store = path, a.bucket.Store(t)
	systemtest.Check(t, systemtest.CopyDatabase(a.cfg.Path, path))
	db, err := driftdb.Open(t.Context(), cfg)
	systemtest.Check(t, err)
	systemtest.Exec(t, db, "INSERT INTO t VALUES(?)", value)
	systemtest.Check(t, db.Flush(t.Context()))
	return db, cfg
}

// attack does it to what is in store.
func (a *attacked) attack(t *testing.T, store objstore.Store, target int, attack string) {
	t.Helper()
	now := systemtest.BucketOf(t, store)
	key := find(t, now, "app", target)
	var data []byte
	switch attack {
	case "old":
		data = a.old[targets[target].name]
	case "stranger's":
		data = a.stranger[find(t, a.stranger, "other", target)]
	case "junk":
		data = []byte("junkjunkjunk")
	case "cut":
		data = now[key][:len(now[key])/2]
	case "missing":
		systemtest.Check(t, store.Delete(t.Context(), key))
		return
	}
	_, err := store.Put(t.Context(), key, bytes.NewReader(data), objstore.PutOptions{})
	systemtest.Check(t, err)
}

// rowsUpTo are the rows that the history has at a point.
func rowsUpTo(point int64) string {
	var rows []string
	for i := int64(2); i <= point; i++ {
		rows = append(rows, fmt.Sprint(i))
	}
	return strings.Join(rows, " ")
}

func fileRows(t *testing.T, path string) string {
	t.Helper()
	c, err := new(sqlite.Driver).Open(path, sqlite.Options{MustExist: true, KeepJournal: true})
	systemtest.Check(t, err)
	defer c.Close()
	rows, err := c.Text("SELECT coalesce(group_concat(v, ' '), '') FROM (SELECT v FROM t ORDER BY rowid)")
	systemtest.Check(t, err)
	return rows
}

// outcomes are what one reader each has come to, in a word or two.
type outcomes struct {
	latest, points, verify, branch, writer, reopened, copied string
}

// word is the name of a typed error. Any other error is a failure of the test.
func word(t *testing.T, who string, err error) string {
	t.Helper()
	for _, typed := range []struct {
		name string
		err  error
	}{
		{"ErrCorrupt", driftdb.ErrCorrupt}, {"ErrNoBackup", driftdb.ErrNoBackup}, {"ErrFenced", driftdb.ErrFenced},
		{"ErrDiverged", driftdb.ErrDiverged}, {"ErrRolledBack", driftdb.ErrRolledBack}, {"ErrKey", driftdb.ErrKey},
	} {
		if errors.Is(err, typed.err) {
			return "`" + typed.name + "`"
		}
	}
	t.Errorf("%s: %v, which is none of the errors that it may be", who, err)
	return "an error"
}

// trial is one attack on one object.
type trial struct {
	*testing.T
	ctx   context.Context
	dir   string
	stale bool // the bucket has an old manifest, which hides newer points
}

// restore is what restoring cfg comes to; want are the rows.
func (t trial) restore(who string, cfg driftdb.RestoreConfig, want string) string {
	t.Helper()
	cfg.Path, cfg.Overwrite = filepath.Join(t.dir, "restored.sqlite"), true
	if _, err := driftdb.Restore(t.ctx, cfg); err != nil {
		return word(t.T, who, err)
	}
	return t.judge(who, cfg.Path, want)
}

// judge says whether a file has the rows that it should have, or those of an older point.
func (t trial) judge(who, path, want string) string {
	t.Helper()
	rows := fileRows(t.T, path)
	switch {
	case rows == want:
		return "right"
	case t.stale && (rows == rowsUpTo(oldConfirmed) || strings.HasPrefix(who, "point") && strings.HasPrefix(want, rows)):
		return "older"
	}
	t.Errorf("%s has the rows %q, want %q", who, rows, want)
	return "WRONG"
}

// goOn writes change 6, sends it, and looks whether it can be restored.
func (t trial) goOn(who string, db *driftdb.DB, cfg driftdb.Config) string {
	t.Helper()
	_, err := db.Exec(t.ctx, "INSERT INTO t VALUES('6')")
	written := err == nil
	if err == nil {
		err = db.Flush(t.ctx)
	}
	want := rowsUpTo(confirmed)
	if written {
		want = rowsUpTo(confirmed + 1)
	}
	if rows := fileRows(t.T, cfg.Path); rows != want {
		t.Errorf("the file of %s has the rows %q, want %q", who, rows, want)
	}
	if err != nil {
		return word(t.T, who, err)
	}
	rc := driftdb.RestoreConfig{Name: cfg.Name, Store: cfg.Store, EncryptionKeys: cfg.EncryptionKeys}
	if after := t.restore("what "+who+" has stored", rc, want); after != "right" {
		_, err := db.Snapshot(t.ctx) // mends it: the file has everything
		systemtest.Check(t.T, err)
		if mended := t.restore("what "+who+" has mended", rc, want); mended != "right" {
			t.Errorf("%s took a snapshot, and restoring it is %s", who, mended)
		}
		return "not told"
	}
	systemtest.Check(t.T, dbtest.Compare(cfg.Path, filepath.Join(t.dir, "restored.sqlite")))
	return "goes on"
}

func trialName(target, attack, mode string) string {
	return fmt.Sprintf("%s, %s, %s", target, attack, mode)
}

// TestAttacks: whatever becomes of one object of a bucket, readers get the right data or
// an error that says what is wrong, and every confirmed point whose bytes are there. What
// each reader comes to is the table in FORMAT.md, which -update writes.
func TestAttacks(t *testing.T) {
	dir := systemtest.MemoryDir(t)
	results := map[string]outcomes{}
	for mode, keys := range map[string][]string{"keys": {systemtest.KeyOf("5e")}, "none": nil} {
		if testing.Short() && keys == nil {
			continue
		}
		var a *attacked
		folder := filepath.Join(dir, mode)
		systemtest.Check(t, os.MkdirAll(folder, 0o700))
		synctest.Test(t, func(t *testing.T) {
			other := newAttacked(t, folder, "other", "other ", keys)
			db, cfg := other.run(t, filepath.Join(folder, "other.sqlite"), "other 5")
			systemtest.Check(t, db.Close())
			a = newAttacked(t, folder, "app", "", keys)
			a.stranger = systemtest.BucketOf(t, cfg.Store)
		})
		for target, o := range targets {
			for _, attack := range attacks {
				name := trialName(o.name, attack, mode)
				t.Run(name, func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) { results[name] = testAttack(t, a, folder, target, attack) })
				})
			}
		}
	}
	if len(results) == 2*len(targets)*len(attacks) { // and not only those that -run asks for
		compareTable(t, attackTable(results))
	}
}

func testAttack(t *testing.T, a *attacked, folder string, target int, attack string) (out outcomes) {
	time.Sleep(24 * time.Hour) // each bubble begins at the same time, and the bucket is older
	ctx, cancel := context.WithTimeout(t.Context(), 24*time.Hour)
	defer cancel()
	dir, err := os.MkdirTemp(folder, "attack-")
	systemtest.Check(t, err)
	running, cfg := a.run(t, filepath.Join(dir, "running.sqlite"), "5")
	defer running.Close()
	proven, err := driftdb.Verify(ctx, driftdb.RestoreConfig{Name: cfg.Name, Store: cfg.Store, EncryptionKeys: cfg.EncryptionKeys})
	systemtest.Check(t, err)
	a.attack(t, cfg.Store, target, attack)
	after := systemtest.BucketOf(t, cfg.Store)
	manifest := targets[target].name == "manifest"
	try := trial{t, ctx, dir, manifest && attack == "old"}

	rc := driftdb.RestoreConfig{Name: cfg.Name, Store: cfg.Store, EncryptionKeys: cfg.EncryptionKeys}
	out.latest = try.restore("the latest", rc, rowsUpTo(confirmed))
	var points []string
	for point := int64(1); point <= confirmed; point++ {
		rc := rc
		rc.Sequence = point
		got := try.restore(fmt.Sprint("point ", point), rc, rowsUpTo(point))
		if got == "right" {
			points = append(points, fmt.Sprint(point))
		} else if restorable(point, target, attack) {
			t.Errorf("point %d, whose bytes are there: %s", point, got)
		}
	}
	out.points = cmp.Or(strings.Join(points, " "), "none")
	rc.Branch = "n.e1"
	out.branch = try.restore("the branch", rc, "2 mine")
	rc.Branch, rc.Seen, out.verify = "", proven.Confirmed, "right"
	if res, err := driftdb.Verify(ctx, rc); err != nil {
		out.verify = word(t, "verify", err)
	} else if res.Sequence != confirmed {
		out.verify = "older"
	}

	crashed := cfg
	crashed.Path, crashed.Store = filepath.Join(dir, "crashed.sqlite"), after.Store(t)
	systemtest.Check(t, systemtest.CloneDisk(cfg.Path, crashed.Path))
	if db, err := driftdb.Open(ctx, crashed); err != nil {
		out.reopened = word(t, "reopening", err)
	} else {
		out.reopened = try.goOn("the reopened file", db, crashed)
		db.Close()
	}

	stale := cfg
	stale.Path, stale.Store, stale.ManualSync = filepath.Join(dir, "stale.sqlite"), after.Store(t), false
	systemtest.Check(t, systemtest.CopyDatabase(a.cfg.Path, stale.Path))
	out.copied = try.catchUp(stale)
	if manifest && attack != "old" {
		rc.Store = after.Store(t)
		try.repair(rc)
	}
	out.writer = try.goOn("the running writer", running, cfg)
	return out
}

// catchUp opens an old copy of the file, at change 4, and looks what it has then. A copy
// that has not learned what the bucket has may not go on from where it is.
func (t trial) catchUp(cfg driftdb.Config) string {
	db, err := driftdb.Open(t.ctx, cfg)
	if err != nil {
		return word(t.T, "the old copy", err)
	}
	defer db.Close()
	if rows := fileRows(t.T, cfg.Path); rows != rowsUpTo(oldConfirmed) || t.stale {
		return t.judge("the old copy", cfg.Path, rowsUpTo(confirmed))
	}
	if _, err = db.Exec(t.ctx, "INSERT INTO t VALUES('fork')"); err == nil {
		err = db.Flush(t.ctx)
	}
	if err != nil {
		return word(t.T, "the old copy", err)
	}
	t.Errorf("the old copy goes on without change %d", confirmed)
	return "WRONG"
}

// repair makes the manifest anew, whatever has become of it: every point is there again.
func (t trial) repair(cfg driftdb.RestoreConfig) {
	t.Helper()
	res, err := driftdb.Repair(t.ctx, systemtest.BackupOf(cfg), driftdb.RepairOptions{Force: true})
	systemtest.Check(t.T, err)
	if res.From != 1 || res.Restored.Sequence != confirmed || len(res.Snapshots) != 2 {
		t.Errorf("the repair found %+v", res)
	}
	for point := int64(1); point <= confirmed; point++ {
		if cfg.Sequence = point; t.restore("the point", cfg, rowsUpTo(point)) != "right" {
			t.Errorf("point %d of the repaired backup is wrong", point)
		}
	}
	cfg.Sequence, cfg.Branch = 0, "n.e1"
	if after := t.restore("the branch", cfg, "2 mine"); after != "right" {
		t.Errorf("the branch of the repaired backup: %s", after)
	}
}

// attackTable has one line for all attacks on an object that come to the same.
func attackTable(results map[string]outcomes) string {
	var b strings.Builder
	b.WriteString("| object | attack | latest | points | verify | branch | running writer | reopened file | old copy |\n")
	b.WriteString("|---|---|---|---|---|---|---|---|---|\n")
	for _, o := range targets {
		var all []outcomes // in the order of the attacks
		same := map[outcomes][]string{}
		add := func(out outcomes, attack string) {
			if same[out] == nil {
				all = append(all, out)
			}
			same[out] = append(same[out], attack)
		}
		for _, attack := range attacks {
			with, without := results[trialName(o.name, attack, "keys")], results[trialName(o.name, attack, "none")]
			if with == without {
				add(with, attack)
				continue
			}
			add(with, attack+" (keys)")
			add(without, attack+" (no keys)")
		}
		for _, out := range all {
			which := strings.Join(same[out], ", ")
			if len(same[out]) == len(attacks) && len(all) == 1 {
				which = "any"
			}
			fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s | %s | %s | %s |\n", o.name, which,
				out.latest, out.points, out.verify, out.branch, out.writer, out.reopened, out.copied)
		}
	}
	return b.String()
}

// compareTable compares the table with the one in FORMAT.md, or writes it there.
func compareTable(t *testing.T, table string) {
	const file, begin, end = "docs/FORMAT.md", "<!-- attacks -->\n", "<!-- end of attacks -->\n"
	doc := systemtest.ReadDoc(t, file)
	before, rest, found := strings.Cut(doc, begin)
	written, after, ended := strings.Cut(rest, end)
	switch {
	case !found || !ended:
		t.Errorf("%s has no place for the table of attacks", file)
	case t.Failed(), written == table:
	case *update:
		root, err := systemtest.ModuleRoot()
		systemtest.Check(t, err)
		systemtest.Check(t, os.WriteFile(filepath.Join(root, file), []byte(before+begin+table+end+after), 0o644))
	default:
		t.Errorf("%s is not up to date; go test ./internal/systemtest/damage -run 'TestAttacks$' -update writes it:\n%s", file, table)
	}
}
