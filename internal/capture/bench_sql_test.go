package capture_test

import (
	"database/sql"
	"fmt"
	"path/filepath"
	"testing"
)

// BenchmarkSQL is what a program does through database/sql, on the bare driver
// and on captured connections: reading a range of rows (an operation is one
// row), looking one up, and writing one, prepared.
func BenchmarkSQL(b *testing.B) {
	bare := func(b *testing.B) *sql.DB {
		db, err := sql.Open("sqlite", "file:"+filepath.ToSlash(filepath.Join(b.TempDir(), "bare.db"))+"?_pragma=journal_mode(WAL)&_pragma=synchronous(OFF)&_pragma=temp_store(MEMORY)")
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { db.Close() })
		return db
	}
	captured := func(b *testing.B) *sql.DB { return newSource(b, 0).pool(b) }
	const rows = 1000
	for name, open := range map[string]func(*testing.B) *sql.DB{"bare": bare, "captured": captured} {
		filled := func(b *testing.B) *sql.DB {
			db := open(b)
			db.SetMaxOpenConns(1)
			if _, err := db.Exec(fmt.Sprintf("CREATE TABLE t(id INTEGER PRIMARY KEY, a TEXT, n INTEGER); INSERT INTO t WITH RECURSIVE i(n) AS (SELECT 1 UNION ALL SELECT n+1 FROM i WHERE n<%d) SELECT n, 'User ' || n, n FROM i", rows)); err != nil {
				b.Fatal(err)
			}
			return db
		}
		prepare := func(b *testing.B, query string) *sql.Stmt {
			st, err := filled(b).Prepare(query)
			if err != nil {
				b.Fatal(err)
			}
			b.Cleanup(func() { st.Close() })
			return st
		}
		b.Run("range/"+name, func(b *testing.B) {
			st := prepare(b, "SELECT id, a, n FROM t")
			b.ReportAllocs()
			for n := 0; n < b.N; {
				r, err := st.Query()
				if err != nil {
					b.Fatal(err)
				}
				var id, number int64
				var a sql.RawBytes
				for ; n < b.N && r.Next(); n++ {
					if err := r.Scan(&id, &a, &number); err != nil {
						b.Fatal(err)
					}
				}
				r.Close()
			}
		})
		b.Run("lookup/"+name, func(b *testing.B) {
			st := prepare(b, "SELECT n FROM t WHERE id = ?")
			b.ReportAllocs()
			var n int64
			for i := 0; b.Loop(); i++ {
				if err := st.QueryRow(1 + i%rows).Scan(&n); err != nil {
					b.Fatal(err)
				}
			}
		})
		b.Run("write/"+name, func(b *testing.B) {
			st := prepare(b, "UPDATE t SET n = n + 1 WHERE id = ?")
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				if _, err := st.Exec(1 + i%rows); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
