package writers_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/dbtest"
	"github.com/driftdb/driftdb-go/internal/systemtest"
	"github.com/driftdb/driftdb-go/objstore"
	"github.com/driftdb/driftdb-go/objstore/objstoretest"
)

// follow returns a follower in a new folder, and the path of its file.
func follow(t testing.TB, store objstore.Store) (*driftdb.Follower, string) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "follower.sqlite")
	b, err := driftdb.OpenBackup(t.Context(), driftdb.BackupConfig{Name: "app", Store: store})
	systemtest.Check(t, err)
	f, err := b.Follow(t.Context(), path, driftdb.FollowConfig{PollInterval: 20 * time.Millisecond})
	systemtest.Check(t, err)
	return f, path
}

// takers are the ways to take a database over. Each returns the database of the new
// writer, whose requests go through store.
var takers = map[string]func(t testing.TB, store objstore.Store) func() *driftdb.DB{
	"Promote": func(t testing.TB, store objstore.Store) func() *driftdb.DB {
		f, _ := follow(t, store)
		return func() *driftdb.DB {
			db, err := f.Promote(t.Context(), driftdb.Config{ManualSync: true})
			systemtest.Check(t, err)
			t.Cleanup(func() { systemtest.Check(t, db.Close()) })
			return db
		}
	},
	"Open": func(t testing.TB, store objstore.Store) func() *driftdb.DB {
		cfg := driftdb.Config{Name: "app", Path: filepath.Join(t.TempDir(), "b.sqlite"), Store: store, AutoRestore: true, SyncInterval: time.Hour}
		return func() *driftdb.DB {
			db := systemtest.Open(t, cfg)
			systemtest.Exec(t, db, "INSERT INTO t VALUES(-1)")
			return db
		}
	},
}

// TestTakeoverKeepsSynced lets the old writer commit, and wait until that is in the bucket,
// before a request of a takeover, or before it and all that follow. What it is told to be
// there is what the new writer has.
func TestTakeoverKeepsSynced(t *testing.T) {
	for name, taker := range takers {
		for _, on := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s,on=%v", name, on), func(t *testing.T) {
				i := interruption{T: t, taker: taker, on: on}
				for i.at = 1; i.takeOver(); i.at++ {
				}
				t.Logf("%d requests; it was told so %d times, and refused %d times", i.at-1, i.synced, i.refused)
				if i.synced == 0 || i.refused == 0 {
					t.Error("the old writer must be refused from some request on, and not before")
				}
			})
		}
	}
}

// interruption is a takeover that the old writer interrupts.
type interruption struct {
	*testing.T
	taker func(testing.TB, objstore.Store) func() *driftdb.DB
	at    int  // before this request of the new writer
	on    bool // and before each after it

	synced, refused int // changes
}

// takeOver lets one machine take over from another. It returns whether the new one made as
// many requests.
func (i *interruption) takeOver() (reached bool) {
	i.Helper()
	ctx := i.Context()
	cfg := systemtest.Config(i)
	cfg.SyncGap, cfg.CloseTimeout, cfg.Logger = -1, -1, slog.New(slog.DiscardHandler)
	old := systemtest.Open(i, cfg, systemtest.Ends(driftdb.ErrFenced))
	systemtest.Exec(i, old, "CREATE TABLE t(n INTEGER PRIMARY KEY)")
	systemtest.Check(i, old.Flush(ctx))
	store := objstoretest.Break(cfg.Store, nil)
	take := i.taker(i, store)
	var synced []int64
	if !i.on { // something that the manifest does not confirm
		synced = append(synced, 0)
		systemtest.Exec(i, old, "INSERT INTO t VALUES(0)")
		systemtest.Check(i, old.WaitSynced(ctx, old.Sequence()))
	}
	requests := 0
	var mu sync.Mutex
	store.SetHook(func(objstoretest.Call) objstoretest.Fault {
		mu.Lock()
		defer mu.Unlock()
		if requests++; requests == i.at || requests > i.at && i.on {
			reached = true
			_, err := old.Exec(ctx, "INSERT INTO t VALUES(?)", requests)
			if err == nil {
				err = old.WaitSynced(ctx, old.Sequence())
			}
			switch {
			case err == nil:
				synced = append(synced, int64(requests))
				i.synced++
			case errors.Is(err, driftdb.ErrFenced):
				i.refused++
			default:
				i.Error(err)
			}
		}
		return objstoretest.Fault{}
	})
	db := take()
	store.SetHook(nil)
	has := rowsOf(i, db)
	for _, n := range synced {
		if !slices.Contains(has, n) {
			i.Errorf("interrupted from request %d on, the old writer was told that %d is in the bucket; the new one has %d", i.at, synced, has)
			break
		}
	}
	_, err := old.Exec(ctx, "INSERT INTO t VALUES(-2)")
	if err == nil {
		err = old.Flush(ctx)
	}
	if !errors.Is(err, driftdb.ErrFenced) {
		i.Errorf("the old writer goes on: %v", err)
	}
	return reached
}

// TestPromoteUnderLoad promotes a follower while the old writer commits in several
// goroutines, which wait until their changes are in the bucket. Whatever they are told to
// be there, the new writer has. "make promotions" does it 50 times.
func TestPromoteUnderLoad(t *testing.T) {
	rounds := 10
	if testing.Short() {
		rounds = 3
	}
	rounds = systemtest.Setting(t, "DRIFTDB_PROMOTIONS", rounds)
	seed := uint64(systemtest.Setting(t, "DRIFTDB_SEED", rand.IntN(1<<31)))
	t.Logf("DRIFTDB_SEED=%d", seed)
	var synced, beside int
	for round := range rounds {
		t.Run(fmt.Sprint(round), func(t *testing.T) {
			p := &promotion{T: t, rnd: rand.New(rand.NewPCG(seed, uint64(round)))}
			p.run()
			synced, beside = synced+len(p.synced), beside+p.beside
		})
	}
	t.Logf("%d promotions; %d changes were synced, and %d that were not are in branches", rounds, synced, beside)
}

// promotion is a writer under load, and a follower that is promoted.
type promotion struct {
	*testing.T
	rnd    *rand.Rand
	old    *driftdb.DB
	beside int // rows that only the old writer has

	mu     sync.Mutex
	next   int64
	synced []int64 // rows that WaitSynced has told to be in the bucket
}

// slowly returns a store whose requests take up to 10 ms.
func (p *promotion) slowly(bucket objstore.Store) objstore.Store {
	rnd := rand.New(rand.NewPCG(p.rnd.Uint64(), 0))
	var mu sync.Mutex
	return objstoretest.Break(bucket, func(objstoretest.Call) objstoretest.Fault {
		mu.Lock()
		defer mu.Unlock()
		return objstoretest.Fault{Delay: time.Duration(rnd.Int64N(int64(10 * time.Millisecond)))}
	})
}

func (p *promotion) run() {
	ctx, bucket := p.Context(), objstore.Mem()
	cfg := driftdb.Config{
		Name: "app", Path: filepath.Join(p.TempDir(), "a.sqlite"), Store: p.slowly(bucket), CloseTimeout: -1,
		SyncInterval: 20 * time.Millisecond, SyncGap: 5 * time.Millisecond, ManifestInterval: 100 * time.Millisecond,
	}
	p.old = systemtest.Open(p, cfg, systemtest.Ends(driftdb.ErrFenced))
	systemtest.Exec(p, p.old, "CREATE TABLE t(n INTEGER PRIMARY KEY)")
	systemtest.Check(p, p.old.Flush(ctx))
	f, path := follow(p, p.slowly(bucket))
	var load sync.WaitGroup
	for range 4 {
		load.Go(p.load)
	}
	time.Sleep(time.Duration(p.rnd.Int64N(int64(300 * time.Millisecond)))) // any moment
	db, err := f.Promote(ctx, driftdb.Config{SyncInterval: 20 * time.Millisecond})
	systemtest.Check(p, err)
	has := rowsOf(p, db)
	systemtest.Exec(p, db, "INSERT INTO t VALUES(-1)")
	load.Wait() // they are refused, sooner or later
	for _, n := range p.synced {
		if _, found := slices.BinarySearch(has, n); !found {
			p.Errorf("%d was told to be in the bucket, and the promoted database lacks it", n)
		}
	}
	p.beside = len(rowsOf(p, p.old)) - len(has)
	systemtest.Check(p, db.Shutdown(ctx))
	restored := filepath.Join(p.TempDir(), "restored.sqlite")
	_, err = driftdb.Restore(ctx, driftdb.RestoreConfig{Name: "app", Store: bucket, Path: restored})
	systemtest.Check(p, err)
	dbtest.Equal(p.T, path, restored)
}

// load commits, and waits until that is in the bucket, until it is refused.
func (p *promotion) load() {
	ctx := context.Background()
	for {
		p.mu.Lock()
		p.next++
		n := p.next
		p.mu.Unlock()
		var tx *driftdb.Tx
		err := p.old.Tx(ctx, func(x *driftdb.Tx) error {
			tx = x
			_, err := x.Exec(ctx, "INSERT INTO t VALUES(?)", n)
			return err
		})
		if err == nil {
			err = p.old.WaitSynced(ctx, tx.Sequence())
		}
		switch {
		case errors.Is(err, driftdb.ErrFenced):
			return
		case err != nil:
			p.Error(err)
			return
		}
		p.mu.Lock()
		p.synced = append(p.synced, n)
		p.mu.Unlock()
	}
}

// TestPromoteFails: the store fails from some request of a promotion on, or the process dies
// there. The file then is a follower's, and is promoted again.
func TestPromoteFails(t *testing.T) {
	for at := 1; ; at++ {
		if !promoteFails(t, at) {
			t.Logf("%d requests", at-1)
			break
		}
	}
}

// promoteFails lets a promotion fail from request number at on. It returns whether there was
// one.
func promoteFails(t *testing.T, at int) (failed bool) {
	t.Helper()
	ctx, cfg := t.Context(), systemtest.Config(t)
	cfg.Logger = slog.New(slog.DiscardHandler)
	old := systemtest.Open(t, cfg, systemtest.Ends(driftdb.ErrFenced))
	systemtest.Exec(t, old, "CREATE TABLE t(n INTEGER PRIMARY KEY)")
	systemtest.Check(t, old.Flush(ctx))
	store := objstoretest.Break(cfg.Store, nil)
	f, path := follow(t, store)
	systemtest.Exec(t, old, "INSERT INTO t VALUES(1)")
	systemtest.Check(t, old.WaitSynced(ctx, old.Sequence()))
	dead := filepath.Join(t.TempDir(), "dead.sqlite")
	var requests atomic.Int64 // some are made at the same moment
	store.SetHook(func(objstoretest.Call) (fault objstoretest.Fault) {
		n := requests.Add(1)
		if n == int64(at) {
			systemtest.Check(t, systemtest.CloneDisk(path, dead))
		}
		if n >= int64(at) {
			fault.Kind = objstoretest.Fail
		}
		return fault
	})
	db, err := f.Promote(ctx, driftdb.Config{ManualSync: true, Retry: driftdb.RetryPolicy{MaxRetries: -1}, Logger: cfg.Logger})
	store.SetHook(nil)
	failed = requests.Load() >= int64(at)
	switch {
	case !failed:
		systemtest.Check(t, err)
		systemtest.Check(t, db.Close())
	case !errors.Is(err, objstoretest.ErrInjected):
		t.Fatalf("the store fails from request %d on: %v", at, err)
	default:
		promoteAgain(t, cfg, dead)
		promoteAgain(t, cfg, path)
	}
	if _, err = old.Exec(ctx, "INSERT INTO t VALUES(2)"); err == nil {
		err = old.Flush(ctx)
	}
	if !errors.Is(err, driftdb.ErrFenced) {
		t.Errorf("the old writer goes on: %v", err)
	}
	return failed
}

// promoteAgain promotes the follower at path, which nothing else can write to.
func promoteAgain(t *testing.T, cfg driftdb.Config, path string) {
	t.Helper()
	ctx := t.Context()
	cfg.Path = path
	if db, err := driftdb.Open(ctx, cfg); err == nil {
		t.Fatalf("%s is a writer's: %v", path, db.Close())
	} else if !strings.Contains(err.Error(), "promote") {
		t.Errorf("open: %v", err)
	}
	b, err := driftdb.OpenBackup(ctx, driftdb.BackupConfig{Name: "app", Store: cfg.Store})
	systemtest.Check(t, err)
	f, err := b.Follow(ctx, path, driftdb.FollowConfig{})
	systemtest.Check(t, err)
	if _, err := f.Promote(ctx, driftdb.Config{Path: path + "-other"}); err == nil || !strings.Contains(err.Error(), "leave it empty") {
		t.Errorf("promote another file: %v", err)
	}
	for _, wrong := range []driftdb.Config{{Name: "other"}, {ReadOnly: true}, {RefuseTakeover: true}} {
		if _, err := f.Promote(ctx, wrong); err == nil {
			t.Errorf("promote with %+v", wrong)
		}
	}
	db, err := f.Promote(ctx, driftdb.Config{Path: path, ManualSync: true})
	systemtest.Check(t, err)
	if got := rowsOf(t, db); !slices.Equal(got, []int64{1}) {
		t.Errorf("promoted again, it has %v", got)
	}
	systemtest.Exec(t, db, "INSERT INTO t VALUES(-1)")
	systemtest.Check(t, db.Flush(ctx))
	systemtest.Exec(t, db, "DELETE FROM t WHERE n < 0")
	systemtest.Check(t, db.Shutdown(ctx))
}
