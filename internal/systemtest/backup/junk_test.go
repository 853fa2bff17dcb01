package backup_test

import (
	"bytes"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/systemtest"
	"github.com/driftdb/driftdb-go/objstore"
)

// intruder puts objects into a bucket, by names that anybody can see. It has no keys,
// and can neither replace nor delete.
type intruder struct {
	t     *testing.T
	store objstore.Store
}

const intruded = "databases/app/nodes/n/logs/"

func (i intruder) put(name string, body []byte) {
	i.t.Helper()
	if _, err := i.store.Put(i.t.Context(), intruded+name, bytes.NewReader(body), objstore.PutOptions{IfAbsent: true}); err != nil {
		i.t.Fatal(err)
	}
}

// first is what the writer's first batch is stored as.
func (i intruder) first() []byte {
	i.t.Helper()
	for info, err := range i.store.List(i.t.Context(), intruded, objstore.ListOptions{}) {
		if err != nil {
			i.t.Fatal(err)
		}
		body, _, err := i.store.Get(i.t.Context(), info.Key, objstore.GetOptions{})
		if err != nil {
			i.t.Fatal(err)
		}
		defer body.Close()
		data, err := io.ReadAll(body)
		if err != nil {
			i.t.Fatal(err)
		}
		return data
	}
	i.t.Fatal("there is no batch")
	return nil
}

// intrusions are made when the bucket has four confirmed changes of the epoch 1. The
// next change of the writer is the fifth.
var intrusions = map[string]func(i intruder){
	"junk behind the head":    func(i intruder) { i.put("000000000005-000000000009.e1.json", []byte("junkjunkjunk")) },
	"an old batch there":      func(i intruder) { i.put("000000000005-000000000009.e1.json", i.first()) },
	"junk with the next name": func(i intruder) { i.put("000000000005-000000000005.e1.json", []byte("junkjunkjunk")) },
	"an old batch with it":    func(i intruder) { i.put("000000000005-000000000005.e1.json", i.first()) },
	"nothing with it":         func(i intruder) { i.put("000000000005-000000000005.e1.json", nil) },
	"a cut batch over all":    func(i intruder) { i.put("000000000001-999999999999.e1.json", i.first()[:len(i.first())/2]) },
	"an old batch over all":   func(i intruder) { i.put("000000000001-000000000009.e1.json", i.first()) },
	"the next sessions' names": func(i intruder) {
		for e := range 4 {
			i.put(fmt.Sprintf("000000000005-000000000005.e%d.json", e+1), []byte("junkjunkjunk"))
		}
	},
	"a flood over all": func(i intruder) {
		junk := make([]byte, 64<<10)
		rand.Read(junk)
		for n := range 150 {
			i.put(fmt.Sprintf("000000000001-%012d.e1.json", 999_999_999_999-n), junk)
		}
	},
	"a flood behind the head": func(i intruder) {
		for n := range 150 {
			i.put(fmt.Sprintf("000000000005-%012d.e1.json", 5+n), append(i.first(), byte(n)))
		}
	},
}

// TestJunk: objects of a stranger, named like the writer's batches, stop neither the
// writer nor the next session nor another node, and no point that was confirmed.
func TestJunk(t *testing.T) {
	for _, keys := range [][]string{{systemtest.KeyOf("5e")}, nil} {
		if testing.Short() && keys == nil {
			continue
		}
		for name, intrude := range intrusions {
			t.Run(fmt.Sprintf("%s, %d keys", name, len(keys)), func(t *testing.T) {
				cfg := systemtest.Config(t)
				cfg.NodeID, cfg.EncryptionKeys = "n", keys
				if name == "junk with the next name" {
					cfg.Store = systemtest.Must(objstore.Dir(t.TempDir()))
				}
				testJunk(t, cfg, intrude)
			})
		}
	}
}

func testJunk(t *testing.T, cfg driftdb.Config, intrude func(intruder)) {
	ctx := t.Context()
	db := systemtest.Open(t, cfg)
	systemtest.Exec(t, db, "CREATE TABLE t(v)")
	systemtest.Exec(t, db, "INSERT INTO t VALUES('a')")
	systemtest.Check(t, db.Flush(ctx))
	if _, err := db.Snapshot(ctx); err != nil {
		t.Fatal(err)
	}
	systemtest.Exec(t, db, "INSERT INTO t VALUES('b')")
	systemtest.Exec(t, db, "INSERT INTO t VALUES('c')")
	systemtest.Check(t, db.Flush(ctx))
	intrude(intruder{t, cfg.Store})

	rc := driftdb.RestoreConfig{Name: "app", Store: cfg.Store, EncryptionKeys: cfg.EncryptionKeys}
	for want, set := range map[int64]func(*driftdb.RestoreConfig){
		4: func(*driftdb.RestoreConfig) {},
		3: func(c *driftdb.RestoreConfig) { c.Sequence = 3 },
		1: func(c *driftdb.RestoreConfig) { c.Sequence = 1 },
	} {
		c := rc
		set(&c)
		c.Path = filepath.Join(t.TempDir(), "restored.sqlite")
		if res, err := driftdb.Restore(ctx, c); err != nil || res.Sequence != want {
			t.Errorf("restore of %d: %+v, %v", want, res, err)
		}
	}
	rc.At = time.Now()
	res, err := driftdb.Verify(ctx, rc)
	if err != nil || res.Sequence != 4 {
		t.Errorf("verify: %+v, %v", res, err)
	}
	if len(res.Refused) == 0 || !strings.HasPrefix(res.Refused[0], intruded) {
		t.Errorf("verify refuses %q", res.Refused)
	}

	systemtest.Exec(t, db, "INSERT INTO t VALUES('d')")
	if err := db.Flush(ctx); err != nil {
		t.Fatalf("the writer: %v", err)
	}
	systemtest.Check(t, db.Close())
	stale := cfg
	stale.Path = filepath.Join(t.TempDir(), "stale.sqlite")
	stale.ManualSync = false // which Open compares with the bucket
	systemtest.Check(t, systemtest.CopyFile(cfg.Path, stale.Path))
	db = systemtest.Open(t, cfg)
	systemtest.Exec(t, db, "INSERT INTO t VALUES('e')")
	if err := db.Flush(ctx); err != nil {
		t.Fatalf("the next session: %v", err)
	}
	systemtest.Check(t, db.Close())
	now := systemtest.Backup(t, cfg)
	intruder{t, cfg.Store}.put(fmt.Sprintf("%012d-%012d.e%d.json", now.Sequence+1, now.Sequence+5, now.Epoch), []byte("junkjunkjunk"))
	db = systemtest.Open(t, stale)
	if got := systemtest.Count(t, db, "t"); got != 5 {
		t.Errorf("an old copy that was brought up to date has %d rows", got)
	}
	systemtest.Check(t, db.Close())
	other := cfg
	other.Path, other.NodeID, other.AutoRestore = filepath.Join(t.TempDir(), "other.sqlite"), "m", true
	db = systemtest.Open(t, other)
	systemtest.Exec(t, db, "INSERT INTO t VALUES('f')")
	if got := systemtest.Count(t, db, "t"); got != 6 {
		t.Errorf("another node has %d rows", got)
	}
	if err := db.Flush(ctx); err != nil {
		t.Fatalf("another node: %v", err)
	}
}

// TestCloneIsNoJunk: a batch that another session of this node has stored under the
// name of the next one is whole, sealed with the key, and fences the writer.
func TestCloneIsNoJunk(t *testing.T) {
	cfg := systemtest.Config(t)
	cfg.NodeID, cfg.EncryptionKeys = "n", []string{systemtest.KeyOf("5e")}
	db := systemtest.Open(t, cfg, systemtest.Ends(driftdb.ErrFenced))
	systemtest.Exec(t, db, "CREATE TABLE t(v)")
	if err := db.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	putBatch(t, cfg)
	systemtest.Exec(t, db, "INSERT INTO t VALUES('mine')")
	if err := db.Flush(t.Context()); !errors.Is(err, driftdb.ErrFenced) {
		t.Errorf("beside a clone's batch: %v", err)
	}
}
