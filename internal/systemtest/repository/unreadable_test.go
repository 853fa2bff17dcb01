package repository_test

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/systemtest"
)

// picky is a value of the user's that some of what it has written cannot be read into.
type picky struct{ No bool }

var errPicky = errors.New("picky")

func (v *picky) UnmarshalJSON(b []byte) error {
	if string(b) == `{"No":true}` {
		return errPicky
	}
	return nil
}

// TestUnreadable: a row that cannot be read back is not written, whether the caller is
// alone, shares a commit, or is in a transaction, and whether the database adds to the row.
func TestUnreadable(t *testing.T) {
	type complete struct {
		driftdb.Base
		Value picky `db:",json"`
	}
	type completed struct {
		driftdb.Base
		Value picky  `db:",json"`
		Role  string `db:",omitzero,default=member"`
	}
	db := systemtest.Open(t, systemtest.Config(t))
	ctx := context.Background()
	first, second := systemtest.Define[complete](t, db, "complete"), systemtest.Define[completed](t, db, "completed")
	creates := map[string]func(no bool) error{
		"complete":  func(no bool) error { _, err := first.Create(ctx, complete{Value: picky{no}}); return err },
		"completed": func(no bool) error { _, err := second.Create(ctx, completed{Value: picky{no}}); return err },
	}
	for table, create := range creates {
		want := func(what string, n int64) {
			t.Helper()
			if got := systemtest.Count(t, db, table); got != n {
				t.Fatalf("%s, %s: %d rows, want %d", table, what, got, n)
			}
		}
		if err := create(true); err == nil {
			t.Error("no error")
		}
		want("alone", 0)
		var all sync.WaitGroup
		for g := range 32 {
			all.Go(func() {
				for i := range 10 {
					no := (g+i)%5 == 0
					if err := create(no); (err != nil) != no {
						t.Errorf("unreadable: %v; %v", no, err)
					}
				}
			})
		}
		all.Wait()
		want("sharing commits", 320-64)
	}
	ok, err := second.Create(ctx, completed{})
	systemtest.Check(t, err)
	if _, err := second.UpdateByID(ctx, ok.ID, driftdb.Set{"value": picky{true}}); err == nil {
		t.Error("no error")
	}
	again, err := second.FindByID(ctx, ok.ID)
	if systemtest.Check(t, err); again.Value.No || again.UpdatedAt != ok.UpdatedAt {
		t.Errorf("updated: %+v", again)
	}
	err = db.Tx(ctx, func(tx *driftdb.Tx) error {
		if _, err := second.In(tx).Create(ctx, completed{Value: picky{true}}); err == nil {
			t.Error("no error")
		}
		return nil // as if it had not happened
	})
	if err == nil {
		t.Error("a transaction of which SQLite has rolled back a part was committed")
	}
	if n := systemtest.Count(t, db, "completed"); n != 320-64+1 {
		t.Errorf("%d rows after the transaction", n)
	}
}
