package follow_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/dbtest"
	"github.com/driftdb/driftdb-go/internal/systemtest"
	"github.com/driftdb/driftdb-go/objstore"
)

// moves makes n random transactions that keep the sum of all accounts: transfers, and now and
// then something that only a snapshot can bring to a follower.
func moves(ctx context.Context, db *driftdb.DB, rng *rand.Rand, n int) error {
	for i := range n {
		err := db.Tx(ctx, func(tx *driftdb.Tx) error {
			sum := rng.IntN(100)
			_, err := tx.Exec(ctx, "UPDATE account SET balance = balance - ? WHERE id = ?", sum, rng.IntN(50))
			for range 3 {
				id := rng.IntN(50)
				if err == nil {
					_, err = tx.Exec(ctx, "DELETE FROM note WHERE id = ?", id)
				}
				if err == nil {
					_, err = tx.Exec(ctx, "INSERT INTO note VALUES(?, randomblob(?))", id, rng.IntN(3000))
				}
			}
			if err == nil {
				_, err = tx.Exec(ctx, "UPDATE account SET balance = -(SELECT sum(balance) FROM account WHERE id < 50) WHERE id = 50")
			}
			return err
		})
		if err == nil && i%10 == 9 {
			err = db.Vacuum(ctx)
		}
		if err == nil && rng.IntN(3) == 0 {
			err = db.Flush(ctx)
		}
		if err != nil {
			return err
		}
	}
	return db.Flush(ctx)
}

const accounts = `CREATE TABLE account(id INTEGER PRIMARY KEY, balance INTEGER NOT NULL);
	CREATE TABLE note(id INTEGER PRIMARY KEY, body BLOB);
	WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 50) INSERT INTO account SELECT i, 0 FROM n`

// TestReaders: whoever reads a follower's database never sees half of a transaction, and never
// goes back, whether batches are replayed or a snapshot takes their place.
func TestReaders(t *testing.T) {
	seed := uint64(systemtest.Setting(t, "DRIFTDB_SEED", 1))
	t.Logf("DRIFTDB_SEED=%d", seed)
	p := newPair(t)
	systemtest.Exec(t, p.db, accounts)
	p.catchUp(t)
	ctx, stop := context.WithCancel(t.Context())
	var readers sync.WaitGroup
	for range 3 {
		readers.Go(func() {
			for last := int64(0); ctx.Err() == nil; {
				before := p.Sequence()
				sums, err := driftdb.Select[int64](t.Context(), p.DB(), "SELECT sum(balance) FROM account")
				if err != nil || sums[0] != 0 {
					t.Errorf("the accounts have %v, %v", sums, err)
					return
				}
				if before < last {
					t.Errorf("the follower went back from %d to %d", last, before)
				}
				last = before
			}
		})
	}
	rng := rand.New(rand.NewPCG(seed, 17))
	err := moves(t.Context(), p.db, rng, 40)
	p.wait(t)
	stop()
	readers.Wait()
	systemtest.Check(t, err)
	p.catchUp(t)
	if m := p.Metrics(); m.Rebases == 0 {
		t.Errorf("no snapshot took the place of batches: %+v", m)
	}
}

// TestCrash: whenever a follower is killed, its file is at the end of some batch, knows which
// one, and the next one goes on from there without another restore.
func TestCrash(t *testing.T) {
	seed := uint64(systemtest.Setting(t, "DRIFTDB_SEED", 1))
	t.Logf("DRIFTDB_SEED=%d", seed)
	copies := systemtest.Setting(t, "DRIFTDB_CRASHES", 25)
	p := newPair(t)
	systemtest.Exec(t, p.db, accounts)
	p.catchUp(t)
	var ended atomic.Bool
	writes := systemtest.InGoroutine(func() error {
		defer ended.Store(true)
		return moves(t.Context(), p.db, rand.New(rand.NewPCG(seed, 17)), 2*copies)
	})
	var paths []string
	for i := range copies {
		from := p.Metrics()
		path := filepath.Join(t.TempDir(), "killed.sqlite")
		systemtest.Check(t, systemtest.CloneDisk(p.path, path))
		paths = append(paths, path)
		if i%5 == 4 {
			continue // at once again
		}
		systemtest.Eventually(t, "the follower has moved", func() bool {
			now := p.Metrics()
			return ended.Load() || now.Batches > from.Batches || now.Rebases > from.Rebases
		})
	}
	systemtest.Check(t, <-writes)
	_, err := p.db.Snapshot(t.Context())
	systemtest.Check(t, err)
	p.catchUp(t)
	systemtest.Check(t, p.Close())
	for _, path := range paths {
		p.path = path
		p.follow(t)
		p.wait(t)
		dbtest.Equal(t, p.cfg.Path, p.path)
		if m := p.Metrics(); m.LastError != nil || m.Rebases > 1 { // there are barriers before the end
			t.Errorf("metrics: %+v", m)
		}
		systemtest.Check(t, p.Close())
	}
}

// TestResume: the same without barriers: nobody needs a snapshot.
func TestResume(t *testing.T) {
	p := newPair(t)
	var paths []string
	for range 10 {
		for range 3 {
			systemtest.Some(t, p.db, "t", 2)
			systemtest.Check(t, p.db.Flush(t.Context()))
		}
		path := filepath.Join(t.TempDir(), "killed.sqlite")
		systemtest.Check(t, systemtest.CloneDisk(p.path, path))
		paths = append(paths, path)
	}
	p.catchUp(t)
	systemtest.Check(t, p.Close())
	for _, path := range paths {
		p.path = path
		p.follow(t)
		p.wait(t)
		dbtest.Equal(t, p.cfg.Path, p.path)
		p.wantRebases(t, 0)
		if m := p.Metrics(); m.Batches == 0 && m.Sequence != p.db.Sequence() {
			t.Errorf("metrics: %+v", m)
		}
		systemtest.Check(t, p.Close())
	}
}

// TestFolder: a folder tells when something comes, so a follower has it long before the next
// poll.
func TestFolder(t *testing.T) {
	dir := t.TempDir()
	store, err := objstore.Dir(dir)
	systemtest.Check(t, err)
	cfg := systemtest.Config(t)
	cfg.Store = store
	db := systemtest.Open(t, cfg)
	systemtest.Some(t, db, "t", 10)
	systemtest.Check(t, db.Flush(t.Context()))
	theirs, err := objstore.Dir(dir) // as another process would have it
	systemtest.Check(t, err)
	b, err := driftdb.OpenBackup(t.Context(), driftdb.BackupConfig{Name: cfg.Name, Store: theirs})
	systemtest.Check(t, err)
	f, err := b.Follow(t.Context(), filepath.Join(t.TempDir(), "follower.sqlite"), driftdb.FollowConfig{PollInterval: time.Hour})
	systemtest.Check(t, err)
	defer func() { systemtest.Check(t, f.Close()) }()
	for i := range 5 {
		systemtest.Some(t, db, "t", 1)
		systemtest.Check(t, db.Flush(t.Context()))
		systemtest.Eventually(t, "the follower has heard of it", func() bool { return f.Sequence() == db.Sequence() })
		if n := systemtest.Count(t, f.DB(), "t"); n != int64(11+i) {
			t.Errorf("%d rows", n)
		}
	}
}

// TestFileReplaced: the follower's file is removed or replaced. It says so, touches nothing of
// what is there, and the next Follow begins anew.
func TestFileReplaced(t *testing.T) {
	p := newPair(t)
	systemtest.Check(t, os.Remove(p.path))
	systemtest.Some(t, p.db, "t", 1)
	systemtest.Check(t, p.db.Flush(t.Context()))
	systemtest.Eventually(t, "the follower has noticed", func() bool { return errors.Is(p.Err(), driftdb.ErrFileReplaced) })
	if systemtest.Exists(p.path) {
		t.Error("the file is there again")
	}
	_ = p.Close() // the file is gone
	p.follow(t)
	p.catchUp(t)
	if p.Err() != nil {
		t.Error(p.Err())
	}
}
