package scale_test

import (
	"context"
	"database/sql"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/systemtest"
	"github.com/google/uuid"
	_ "modernc.org/sqlite"
)

// Each benchmark does the same work twice: through a repository, and by hand
// with database/sql on the plain driver, uncaptured, prepared, with the same
// pragmas and one connection. The two take turns, each time on a fresh file, so
// that a machine whose speed drifts slows both, and what is reported is the
// median over the rounds:
//
//	ratio     operations per second, ours / plain
//	ours-us   microseconds per operation
//	plain-us
//	ours-allocs, plain-allocs per operation
//
// Run them with -benchtime=1x: one iteration is all rounds.

const benchRounds = 10

// side is one way to do the work: it prepares, and returns what is timed.
type side func(b *testing.B, n int) (timed func())

func sideBySide(b *testing.B, n int, ours, plain side) {
	b.Helper()
	var us, allocs [2][]float64
	var ratios []float64
	for b.Loop() {
		for range benchRounds {
			for i, s := range []side{ours, plain} {
				timed := s(b, n)
				runtime.GC()
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				start := time.Now()
				timed()
				us[i] = append(us[i], float64(time.Since(start).Nanoseconds())/1e3/float64(n))
				runtime.ReadMemStats(&after)
				allocs[i] = append(allocs[i], float64(after.Mallocs-before.Mallocs)/float64(n))
			}
			last := len(us[0]) - 1
			ratios = append(ratios, us[1][last]/us[0][last])
		}
	}
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(median(ratios), "ratio")
	b.ReportMetric(median(us[0]), "ours-us")
	b.ReportMetric(median(us[1]), "plain-us")
	b.ReportMetric(median(allocs[0]), "ours-allocs")
	b.ReportMetric(median(allocs[1]), "plain-allocs")
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	return v[len(v)/2]
}

type benchUser struct {
	driftdb.Base
	Name  string
	Email string `db:",unique"`
	Age   int
}

func newBenchUser(i int) benchUser {
	return benchUser{Name: "Alice", Email: fmt.Sprintf("user%d@example.com", i), Age: i % 100}
}

const (
	plainInsert = `INSERT INTO users (id, createdAt, updatedAt, name, email, age) VALUES (?, ?, ?, ?, ?, ?)`
	plainUpdate = `UPDATE users SET age = ?, updatedAt = ? WHERE id = ? RETURNING id, createdAt, updatedAt, name, email, age`
	plainByID   = `SELECT id, createdAt, updatedAt, name, email, age FROM users WHERE id = ?`
	plainRange  = `SELECT id, createdAt, updatedAt, name, email, age FROM users WHERE email >= ? AND email < ?`
)

func plainDB(b *testing.B) *sql.DB {
	b.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.ToSlash(filepath.Join(b.TempDir(), "plain.sqlite"))+
		"?_pragma=journal_mode(WAL)&_pragma=synchronous(NORMAL)&_pragma=foreign_keys(ON)&_pragma=cache_size(-64000)&_pragma=temp_store(MEMORY)")
	if err != nil {
		b.Fatal(err)
	}
	db.SetMaxOpenConns(1)
	b.Cleanup(func() { db.Close() })
	for _, ddl := range []string{
		`CREATE TABLE users (id TEXT NOT NULL PRIMARY KEY, createdAt INTEGER NOT NULL, updatedAt INTEGER NOT NULL,
			name TEXT NOT NULL, email TEXT NOT NULL, age INTEGER NOT NULL)`,
		`CREATE UNIQUE INDEX email ON users (email)`,
	} {
		if _, err := db.Exec(ddl); err != nil {
			b.Fatal(err)
		}
	}
	return db
}

func prepared(b *testing.B, db *sql.DB, query string) *sql.Stmt {
	b.Helper()
	st, err := db.Prepare(query)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { st.Close() })
	return st
}

// plainArgs makes what a repository makes by itself: id and times.
func plainArgs(i int) (id string, args []any) {
	now := time.Now().UnixMilli()
	u := newBenchUser(i)
	id = uuid.Must(uuid.NewV7()).String()
	return id, []any{id, now, now, u.Name, u.Email, u.Age}
}

func scanUser(scan func(...any) error) (u benchUser, err error) {
	var created, updated int64
	err = scan(&u.ID, &created, &updated, &u.Name, &u.Email, &u.Age)
	u.CreatedAt, u.UpdatedAt = time.UnixMilli(created).UTC(), time.UnixMilli(updated).UTC()
	return u, err
}

// benchDB opens a database without a store: what is measured is the write path.
func benchDB(b *testing.B) *driftdb.DB {
	b.Helper()
	db, err := driftdb.Open(b.Context(), driftdb.Config{Name: "bench", Path: filepath.Join(b.TempDir(), "bench.sqlite")})
	systemtest.Check(b, err)
	b.Cleanup(func() { systemtest.Check(b, db.Close()) })
	return db
}

// filled returns a repository with n users.
func filled(b *testing.B, n int) (*driftdb.Repository[benchUser], []benchUser) {
	b.Helper()
	repo := systemtest.Define[benchUser](b, benchDB(b), "users")
	in := make([]benchUser, n)
	for i := range in {
		in[i] = newBenchUser(i)
	}
	users, err := repo.CreateMany(context.Background(), in)
	systemtest.Check(b, err)
	return repo, users
}

// plainFilled returns a plain database with n users, and their ids.
func plainFilled(b *testing.B, n int) (*sql.DB, []string) {
	b.Helper()
	db := plainDB(b)
	tx, err := db.Begin()
	systemtest.Check(b, err)
	st, err := tx.Prepare(plainInsert)
	systemtest.Check(b, err)
	ids := make([]string, n)
	for i := range ids {
		var args []any
		ids[i], args = plainArgs(i)
		_, err := st.Exec(args...)
		systemtest.Check(b, err)
	}
	systemtest.Check(b, tx.Commit())
	return db, ids
}

func BenchmarkCreate(b *testing.B) {
	for _, goroutines := range []int{1, 16, 64} {
		b.Run(fmt.Sprintf("goroutines=%d", goroutines), func(b *testing.B) {
			sideBySide(b, 12_000, func(b *testing.B, n int) func() {
				repo, _ := filled(b, 0)
				return func() {
					spread(goroutines, n, func(i int) {
						_, err := repo.Create(context.Background(), newBenchUser(i))
						systemtest.Check(b, err)
					})
				}
			}, func(b *testing.B, n int) func() {
				st := prepared(b, plainDB(b), plainInsert)
				return func() {
					spread(goroutines, n, func(i int) {
						_, args := plainArgs(i)
						_, err := st.Exec(args...)
						systemtest.Check(b, err)
					})
				}
			})
		})
	}
}

// spread calls fn with 0 to n-1, from so many goroutines.
func spread(goroutines, n int, fn func(i int)) {
	if goroutines == 1 {
		for i := range n {
			fn(i)
		}
		return
	}
	var wg sync.WaitGroup
	for g := range goroutines {
		wg.Go(func() {
			for i := g; i < n; i += goroutines {
				fn(i)
			}
		})
	}
	wg.Wait()
}

func BenchmarkUpdateByID(b *testing.B) {
	sideBySide(b, 10_000, func(b *testing.B, n int) func() {
		repo, users := filled(b, n)
		return func() {
			for i := range n {
				_, err := repo.UpdateByID(context.Background(), users[i].ID, driftdb.Set{"age": i + 1})
				systemtest.Check(b, err)
			}
		}
	}, func(b *testing.B, n int) func() {
		db, ids := plainFilled(b, n)
		st := prepared(b, db, plainUpdate)
		return func() {
			for i := range n {
				_, err := scanUser(st.QueryRow(i+1, time.Now().UnixMilli(), ids[i]).Scan)
				systemtest.Check(b, err)
			}
		}
	})
}

func BenchmarkCreateMany(b *testing.B) {
	sideBySide(b, 10_000, func(b *testing.B, n int) func() {
		repo, _ := filled(b, 0)
		users := make([]benchUser, n)
		for i := range users {
			users[i] = newBenchUser(i)
		}
		return func() {
			_, err := repo.CreateMany(context.Background(), users)
			systemtest.Check(b, err)
		}
	}, func(b *testing.B, n int) func() {
		db := plainDB(b)
		return func() {
			tx, err := db.Begin()
			systemtest.Check(b, err)
			st, err := tx.Prepare(plainInsert)
			systemtest.Check(b, err)
			for i := range n {
				_, args := plainArgs(i)
				_, err := st.Exec(args...)
				systemtest.Check(b, err)
			}
			systemtest.Check(b, tx.Commit())
		}
	})
}

func BenchmarkFindByID(b *testing.B) {
	sideBySide(b, 20_000, func(b *testing.B, n int) func() {
		repo, users := filled(b, n)
		return func() {
			for i := range n {
				_, err := repo.FindByID(context.Background(), users[i*7919%n].ID)
				systemtest.Check(b, err)
			}
		}
	}, func(b *testing.B, n int) func() {
		db, ids := plainFilled(b, n)
		st := prepared(b, db, plainByID)
		return func() {
			for i := range n {
				_, err := scanUser(st.QueryRow(ids[i*7919%n]).Scan)
				systemtest.Check(b, err)
			}
		}
	})
}

// BenchmarkEach reads a range of an index; an operation is a row.
func BenchmarkEach(b *testing.B) {
	const low, high = "user", "usf"
	sideBySide(b, 20_000, func(b *testing.B, n int) func() {
		repo, _ := filled(b, n)
		query := driftdb.Query{Where: driftdb.Where{"email": driftdb.And(driftdb.Gte(low), driftdb.Lt(high))}}
		return func() {
			rows := 0
			for _, err := range repo.Each(context.Background(), query) {
				systemtest.Check(b, err)
				rows++
			}
			if rows != n {
				b.Fatalf("%d rows", rows)
			}
		}
	}, func(b *testing.B, n int) func() {
		db, _ := plainFilled(b, n)
		st := prepared(b, db, plainRange)
		return func() {
			rows, err := st.Query(low, high)
			systemtest.Check(b, err)
			defer rows.Close()
			for rows.Next() {
				_, err := scanUser(rows.Scan)
				systemtest.Check(b, err)
			}
			systemtest.Check(b, rows.Err())
		}
	})
}
