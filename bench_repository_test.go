package driftdb_test

import (
	"database/sql"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/driftdb/driftdb-go"
	"github.com/google/uuid"
	_ "modernc.org/sqlite"
)

// The benchmarks come in pairs: a repository, and the same work by hand with
// database/sql on the plain driver, uncaptured and with the same pragmas.

type benchUser struct {
	driftdb.Base
	Name  string
	Email string `db:",unique"`
	Age   int    `db:",index"`
}

const (
	plainInsert = `INSERT INTO users (id, createdAt, updatedAt, name, email, age) VALUES (?, ?, ?, ?, ?, ?)`
	plainByID   = `SELECT id, createdAt, updatedAt, name, email, age FROM users WHERE id = ?`
	plainRange  = `SELECT id, createdAt, updatedAt, name, email, age FROM users WHERE age >= ? AND age < ?`
)

func plainDB(b *testing.B) *sql.DB {
	b.Helper()
	db, err := sql.Open("sqlite", "file:"+filepath.ToSlash(filepath.Join(b.TempDir(), "plain.sqlite"))+
		"?_pragma=journal_mode(WAL)&_pragma=synchronous(NORMAL)&_pragma=foreign_keys(ON)&_pragma=cache_size(-64000)&_pragma=temp_store(MEMORY)")
	if err != nil {
		b.Fatal(err)
	}
	db.SetMaxOpenConns(1)
	b.Cleanup(func() {
		if err := db.Close(); err != nil {
			b.Error(err)
		}
	})
	for _, ddl := range []string{
		`CREATE TABLE users (id TEXT NOT NULL PRIMARY KEY, createdAt INTEGER NOT NULL, updatedAt INTEGER NOT NULL,
			name TEXT NOT NULL, email TEXT NOT NULL, age INTEGER NOT NULL)`,
		`CREATE UNIQUE INDEX email ON users (email)`, `CREATE INDEX age ON users (age)`,
	} {
		if _, err := db.Exec(ddl); err != nil {
			b.Fatal(err)
		}
	}
	return db
}

// prepared is a statement that lives as long as the benchmark.
func prepared(b *testing.B, db *sql.DB, query string) *sql.Stmt {
	b.Helper()
	st, err := db.Prepare(query)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() {
		if err := st.Close(); err != nil {
			b.Error(err)
		}
	})
	return st
}

func plainUser(i int) benchUser {
	at := time.UnixMilli(time.Now().UnixMilli())
	return benchUser{
		Base: driftdb.Base{ID: uuid.Must(uuid.NewV7()).String(), CreatedAt: at, UpdatedAt: at},
		Name: "Alice", Email: fmt.Sprintf("user%d@example.com", i), Age: i % 100,
	}
}

func (u benchUser) args() []any {
	return []any{u.ID, u.CreatedAt.UnixMilli(), u.UpdatedAt.UnixMilli(), u.Name, u.Email, u.Age}
}

func scanUser(scan func(...any) error) (u benchUser, err error) {
	var created, updated int64
	err = scan(&u.ID, &created, &updated, &u.Name, &u.Email, &u.Age)
	u.CreatedAt, u.UpdatedAt = time.UnixMilli(created).UTC(), time.UnixMilli(updated).UTC()
	return u, err
}

func benchUsers(b *testing.B, n int) (*driftdb.Repository[benchUser], []benchUser) {
	b.Helper()
	repo := define[benchUser](b, newDB(b), "users")
	in := make([]benchUser, n)
	for i := range in {
		in[i] = benchUser{Name: "Alice", Email: fmt.Sprintf("user%d@example.com", i), Age: i % 100}
	}
	users, err := repo.CreateMany(b.Context(), in)
	if err != nil {
		b.Fatal(err)
	}
	return repo, users
}

func plainUsers(b *testing.B, n int) (*sql.DB, []benchUser) {
	b.Helper()
	db := plainDB(b)
	users := make([]benchUser, n)
	for i := range users {
		users[i] = plainUser(i)
	}
	plainMany(b, db, users)
	return db, users
}

func plainMany(b *testing.B, db *sql.DB, users []benchUser) {
	b.Helper()
	tx, err := db.Begin()
	if err != nil {
		b.Fatal(err)
	}
	st, err := tx.Prepare(plainInsert)
	if err != nil {
		b.Fatal(err)
	}
	for _, u := range users {
		if _, err := st.Exec(u.args()...); err != nil {
			b.Fatal(err)
		}
	}
	if err := tx.Commit(); err != nil {
		b.Fatal(err)
	}
}

func BenchmarkCreate(b *testing.B) {
	b.Run("repository", func(b *testing.B) {
		repo, _ := benchUsers(b, 0)
		i := 0
		for b.Loop() {
			if _, err := repo.Create(b.Context(), benchUser{Name: "Alice", Email: fmt.Sprintf("user%d@example.com", i), Age: i % 100}); err != nil {
				b.Fatal(err)
			}
			i++
		}
	})
	b.Run("plain", func(b *testing.B) {
		st := prepared(b, plainDB(b), plainInsert)
		i := 0
		for b.Loop() {
			if _, err := st.ExecContext(b.Context(), plainUser(i).args()...); err != nil {
				b.Fatal(err)
			}
			i++
		}
	})
}

func BenchmarkFindByID(b *testing.B) {
	const rows = 10_000
	b.Run("repository", func(b *testing.B) {
		repo, users := benchUsers(b, rows)
		i := 0
		for b.Loop() {
			if u, err := repo.FindByID(b.Context(), users[i%rows].ID); err != nil || u.Email == "" {
				b.Fatal(u, err)
			}
			i += 7919
		}
	})
	b.Run("plain", func(b *testing.B) {
		db, users := plainUsers(b, rows)
		st := prepared(b, db, plainByID)
		i := 0
		for b.Loop() {
			if u, err := scanUser(st.QueryRowContext(b.Context(), users[i%rows].ID).Scan); err != nil || u.Email == "" {
				b.Fatal(u, err)
			}
			i += 7919
		}
	})
}

func BenchmarkCreateMany(b *testing.B) {
	const rows = 10_000
	b.Run("repository", func(b *testing.B) {
		repo, _ := benchUsers(b, 0)
		n := 0
		for b.Loop() {
			in := make([]benchUser, rows)
			for i := range in {
				in[i] = benchUser{Name: "Alice", Email: fmt.Sprintf("user%d@example.com", n), Age: i % 100}
				n++
			}
			if _, err := repo.CreateMany(b.Context(), in); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("plain", func(b *testing.B) {
		db := plainDB(b)
		n := 0
		for b.Loop() {
			in := make([]benchUser, rows)
			for i := range in {
				in[i] = plainUser(n)
				n++
			}
			plainMany(b, db, in)
		}
	})
}

func BenchmarkEach(b *testing.B) {
	const rows = 10_000 // of which a tenth is read
	b.Run("repository", func(b *testing.B) {
		repo, _ := benchUsers(b, rows)
		q := driftdb.Query{Where: driftdb.Where{"age": driftdb.And(driftdb.Gte(20), driftdb.Lt(30))}}
		b.ReportAllocs()
		for b.Loop() {
			n := 0
			for u, err := range repo.Each(b.Context(), q) {
				if err != nil || u.Age < 20 {
					b.Fatal(u, err)
				}
				n++
			}
			if n != rows/10 {
				b.Fatal(n)
			}
		}
	})
	b.Run("plain", func(b *testing.B) {
		db, _ := plainUsers(b, rows)
		st := prepared(b, db, plainRange)
		b.ReportAllocs()
		for b.Loop() {
			found, err := st.QueryContext(b.Context(), 20, 30)
			if err != nil {
				b.Fatal(err)
			}
			n := 0
			for found.Next() {
				if u, err := scanUser(found.Scan); err != nil || u.Age < 20 {
					b.Fatal(u, err)
				}
				n++
			}
			if err := found.Close(); err != nil || n != rows/10 {
				b.Fatal(n, err)
			}
		}
	})
}
