package repository_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/systemtest"
)

// TestManyWriters mixes all methods from 64 goroutines: counts add up, nobody
// hears of a busy database, and one caller's trouble is his alone.
func TestManyWriters(t *testing.T) {
	cfg := systemtest.Config(t)
	cfg.ManualSync, cfg.SyncInterval = false, 10*time.Millisecond
	db := systemtest.Open(t, cfg)
	repo, err := driftdb.Define[user](t.Context(), db, "users")
	if err != nil {
		t.Fatal(err)
	}
	var created, deleted, duplicates atomic.Int64
	var wg sync.WaitGroup
	for g := range 64 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(uint64(g), 7))
			if err := manyWrites(db, repo, r, g, &created, &deleted, &duplicates); err != nil {
				t.Errorf("goroutine %d: %v", g, err)
			}
		})
	}
	wg.Wait()
	n, err := repo.Count(t.Context())
	if err != nil || n != created.Load()-deleted.Load() {
		t.Errorf("%d rows, but %d were created and %d deleted (%v)", n, created.Load(), deleted.Load(), err)
	}
	if duplicates.Load() == 0 {
		t.Error("no duplicate was refused")
	}
}

func manyWrites(db *driftdb.DB, repo *driftdb.Repository[user], r *rand.Rand, g int, created, deleted, duplicates *atomic.Int64) error {
	ctx := context.Background()
	for i := range 12 {
		email := fmt.Sprintf("%d-%d@example.com", g, i)
		u, err := repo.Create(ctx, user{Name: "a", Email: email})
		if err != nil {
			return err
		}
		created.Add(1)
		switch r.IntN(8) {
		case 0:
			_, err = repo.UpdateByID(ctx, u.ID, driftdb.Set{"name": "b"})
		case 1:
			var ok bool
			if ok, err = repo.DeleteByID(ctx, u.ID); ok {
				deleted.Add(1)
			}
		case 2:
			_, err = repo.Create(ctx, user{Name: "twin", Email: email})
			var broken *driftdb.ConstraintError
			if !errors.As(err, &broken) || broken.Column != "email" {
				return fmt.Errorf("a duplicate: %v", err)
			}
			duplicates.Add(1)
			err = nil
		case 3:
			gone, cancel := context.WithCancel(ctx)
			cancel()
			if _, err := repo.Create(gone, user{Name: "c", Email: "c" + email}); !errors.Is(err, context.Canceled) {
				return fmt.Errorf("with a context that has ended: %v", err)
			}
		case 4:
			many := []user{{Name: "d", Email: "d" + email}, {Name: "e", Email: "e" + email}}
			if _, err = repo.CreateMany(ctx, many); err == nil {
				created.Add(2)
			}
		case 5:
			err = db.Tx(ctx, func(tx *driftdb.Tx) error {
				if _, err := repo.In(tx).Create(ctx, user{Name: "f", Email: "f" + email}); err != nil {
					return err
				}
				return errUndo
			})
			if errors.Is(err, errUndo) {
				err = nil
			}
		case 6:
			_, err = db.SQL().Exec("UPDATE users SET name = name || '!' WHERE id = ?", u.ID)
		case 7:
			if _, err = repo.FindByID(ctx, u.ID); err == nil {
				_, err = repo.Upsert(ctx, driftdb.Where{"email": email}, driftdb.Set{"name": "g"})
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

var errUndo = errors.New("undo")

// TestGroupSpoiled: work that makes a shared commit fail as a whole, here by a
// foreign key that is checked at COMMIT, takes nobody else with it.
func TestGroupSpoiled(t *testing.T) {
	cfg := systemtest.Config(t)
	db := systemtest.Open(t, cfg)
	systemtest.Exec(t, db, "CREATE TABLE parents(id TEXT PRIMARY KEY)")
	systemtest.Exec(t, db, `CREATE TABLE children(id TEXT PRIMARY KEY, createdAt INTEGER NOT NULL, updatedAt INTEGER NOT NULL,
		parent TEXT NOT NULL REFERENCES parents DEFERRABLE INITIALLY DEFERRED)`)
	systemtest.Exec(t, db, "INSERT INTO parents VALUES('p')")
	repo, err := db.Define(t.Context(), "children", driftdb.Schema{driftdb.Text("parent").Required()})
	if err != nil {
		t.Fatal(err)
	}
	var good, bad atomic.Int64
	var wg sync.WaitGroup
	for g := range 32 {
		wg.Go(func() {
			for i := range 20 {
				parent := "p"
				if (g+i)%8 == 0 {
					parent = "nobody"
				}
				_, err := repo.Create(context.Background(), driftdb.Record{"parent": parent})
				var broken *driftdb.ConstraintError
				switch {
				case parent == "p" && err == nil:
					good.Add(1)
				case parent == "nobody" && errors.As(err, &broken) && broken.Kind == driftdb.ConstraintForeignKey:
					bad.Add(1)
				default:
					t.Errorf("parent %s: %v", parent, err)
				}
			}
		})
	}
	wg.Wait()
	if n := systemtest.Count(t, db, "children"); n != good.Load() || good.Load()+bad.Load() != 640 {
		t.Errorf("%d rows, %d created, %d refused", n, good.Load(), bad.Load())
	}
}

// touchy is a value of the user's whose decoding panics when it is asked to.
type touchy struct{ Panic bool }

func (v *touchy) UnmarshalJSON(b []byte) error {
	if string(b) == `{"Panic":true}` {
		panic("touchy")
	}
	return nil
}

// TestPanicInAGroup: a panic in a caller's own type reaches that caller alone,
// undoes his work, and leaves the writer to the others.
func TestPanicInAGroup(t *testing.T) {
	type thing struct {
		driftdb.Base
		Value touchy `db:",json"`
	}
	db := systemtest.Open(t, systemtest.Config(t))
	repo := systemtest.Define[thing](t, db, "things")
	create := func(panics bool) (panicked bool, err error) {
		defer func() { panicked = recover() != nil }()
		if panics {
			_, err = repo.CreateMany(context.Background(), []thing{{}, {Value: touchy{true}}})
			return false, err
		}
		_, err = repo.Create(context.Background(), thing{})
		return false, err
	}
	if panicked, _ := create(true); !panicked {
		t.Error("a lone caller's panic was swallowed")
	}
	var wg sync.WaitGroup
	for g := range 32 {
		wg.Go(func() {
			for i := range 10 {
				want := (g+i)%5 == 0
				if panicked, err := create(want); panicked != want || err != nil {
					t.Errorf("panicked %v, want %v; %v", panicked, want, err)
				}
			}
		})
	}
	wg.Wait()
	if n := systemtest.Count(t, db, "things"); n != 320-64 {
		t.Errorf("%d rows, want those of the callers who did not panic, 256", n)
	}
}
