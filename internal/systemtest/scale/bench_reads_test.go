package scale_test

import (
	"context"
	"testing"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/systemtest"
)

// BenchmarkLookUp finds rows by id among many; each call is a read by itself.
func BenchmarkLookUp(b *testing.B) {
	const n, rows = 100_000, 300_000
	repo, users := filled(b, rows)
	db, ids := plainFilled(b, rows)
	st := prepared(b, db, plainByID)
	sideBySide(b, n, func(b *testing.B, n int) func() {
		return func() {
			for i := range n {
				_, err := repo.FindByID(context.Background(), users[i*7919%rows].ID)
				systemtest.Check(b, err)
			}
		}
	}, func(b *testing.B, n int) func() {
		return func() {
			for i := range n {
				_, err := scanUser(st.QueryRow(ids[i*7919%rows]).Scan)
				systemtest.Check(b, err)
			}
		}
	})
}

// BenchmarkFind reads a range of an index into a slice; an operation is a row.
func BenchmarkFind(b *testing.B) {
	const low, high = "user", "usf"
	repo, _ := filled(b, 20_000)
	db, _ := plainFilled(b, 20_000)
	st := prepared(b, db, plainRange)
	query := driftdb.Query{Where: driftdb.Where{"email": driftdb.And(driftdb.Gte(low), driftdb.Lt(high))}}
	sideBySide(b, 20_000, func(b *testing.B, n int) func() {
		return func() {
			users, err := repo.Find(context.Background(), query)
			if systemtest.Check(b, err); len(users) != n {
				b.Fatalf("%d rows", len(users))
			}
		}
	}, func(b *testing.B, n int) func() {
		return func() {
			rows, err := st.Query(low, high)
			systemtest.Check(b, err)
			defer rows.Close()
			var users []benchUser
			for rows.Next() {
				u, err := scanUser(rows.Scan)
				systemtest.Check(b, err)
				users = append(users, u)
			}
			if systemtest.Check(b, rows.Err()); len(users) != n {
				b.Fatalf("%d rows", len(users))
			}
		}
	})
}
