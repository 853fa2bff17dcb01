package file_test

import (
	"context"
	"database/sql"
	"sync"
	"testing"
	"time"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/systemtest"
)

type oneUser struct {
	driftdb.Base
	Name  string
	Email string `db:",unique"`
}

// TestOneUser: a connection has one user at a time, whoever ends what another one does: a
// context, a loop that is left, rows that stay open, Close. Without the race detector it
// says little: SQLite's mutex is off, and two users write to the same memory of Go's.
func TestOneUser(t *testing.T) {
	cfg := systemtest.Config(t)
	db := systemtest.Open(t, cfg)
	users := systemtest.Define[oneUser](t, db, "users")
	for i := range 200 {
		name := string(rune('a'+i%26)) + string(rune('a'+i/26))
		systemtest.Must(users.Create(t.Context(), oneUser{Name: name, Email: name}))
	}
	const cross = "SELECT a.name FROM users a, users b"
	var held sync.Map // what a program holds when the database is closed
	uses := []func(ctx context.Context){
		func(ctx context.Context) { _, _ = users.Find(ctx, driftdb.Query{}) },
		func(ctx context.Context) { _, _ = driftdb.Select[string](ctx, db, cross) },
		func(ctx context.Context) { _, _ = users.Create(ctx, oneUser{Name: "x", Email: time.Now().String()}) },
		func(ctx context.Context) {
			for range users.Each(ctx, driftdb.Query{Limit: 20}) {
				break
			}
		},
		func(ctx context.Context) {
			_ = db.ReadTx(ctx, func(tx *driftdb.Tx) error {
				_, err := driftdb.Select[string](ctx, tx, cross)
				return err
			})
		},
		func(ctx context.Context) {
			if rows, err := db.SQL().QueryContext(ctx, cross); err == nil {
				rows.Next()
				held.Store(rows, rows) // closed by the context's end, on another goroutine
			}
		},
		func(ctx context.Context) {
			if tx, err := db.SQL().BeginTx(ctx, &sql.TxOptions{ReadOnly: true}); err == nil {
				_, _ = tx.ExecContext(ctx, "SELECT count(*) FROM users")
			}
		},
	}
	const rounds = 50 // of each, before Close comes between
	stop := make(chan struct{})
	var all, warm sync.WaitGroup
	warm.Add(2 * len(uses))
	for i := range 2 * len(uses) {
		all.Go(func() {
			for n := time.Duration(1); ; n++ {
				select {
				case <-stop:
					return
				default:
				}
				ctx, cancel := context.WithTimeout(context.Background(), n%7*time.Millisecond/2)
				uses[i%len(uses)](ctx)
				if n%2 == 0 {
					<-ctx.Done()
				}
				cancel()
				if n == rounds {
					warm.Done()
				}
			}
		})
	}
	warm.Wait()
	if err := db.Close(); err != nil {
		t.Error(err)
	}
	close(stop)
	all.Wait()
	held.Range(func(_, rows any) bool {
		_ = rows.(*sql.Rows).Close()
		return true
	})
}
