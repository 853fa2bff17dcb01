package scale_test

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/systemtest"
	"github.com/driftdb/driftdb-go/objstore"
)

// BenchmarkLogBytes prints what a change takes in the log and in the bucket,
// for users one by one: inserted, and then given another age.
func BenchmarkLogBytes(b *testing.B) {
	const rows = 20_000
	ctx := context.Background()
	for b.Loop() {
		cfg := systemtest.Config(b)
		db, err := driftdb.Open(ctx, cfg)
		systemtest.Check(b, err)
		repo := systemtest.Define[benchUser](b, db, "users")
		systemtest.Check(b, db.Flush(ctx))
		ids := make([]string, rows)
		report := func(what string) {
			local := systemtest.Must(driftdb.Select[int64](ctx, db, "SELECT sum(pgsize) FROM dbstat WHERE name = '_driftdb_log'"))[0]
			before := logBytes(b, cfg.Store)
			systemtest.Check(b, db.Flush(ctx))
			b.ReportMetric(float64(local)/rows, what+"-local-B")
			b.ReportMetric(float64(logBytes(b, cfg.Store)-before)/rows, what+"-bucket-B")
		}
		for i := range ids {
			u, err := repo.Create(ctx, newBenchUser(i))
			systemtest.Check(b, err)
			ids[i] = u.ID
		}
		report("insert")
		for i, id := range ids {
			_, err := db.Exec(ctx, "UPDATE users SET age = ? WHERE id = ?", i%90+101, id)
			systemtest.Check(b, err)
		}
		report("update")
		systemtest.Check(b, db.Close())
	}
	b.ReportMetric(0, "ns/op")
}

// logBytes is the size of all batches in the store.
func logBytes(tb testing.TB, store objstore.Store) (n int64) {
	for info, err := range store.List(context.Background(), "", objstore.ListOptions{}) {
		systemtest.Check(tb, err)
		if strings.Contains(info.Key, "/logs/") {
			n += info.Size
		}
	}
	return n
}

// BenchmarkRestore restores a million users, of which the snapshot has 900,000
// and the log 100,000, and does the same by hand: inserts into a plain file
// that has the 900,000, and a copy of the finished file. It reports seconds and
// rows per second, and ratio, that of the rows, ours / plain.
func BenchmarkRestore(b *testing.B) {
	const inSnapshot, inLog = 900_000, 100_000
	cfg := backedUp(b, inSnapshot, inLog)
	target := filepath.Join(b.TempDir(), "restored.sqlite")
	for b.Loop() {
		systemtest.Check(b, os.RemoveAll(target))
		var fetched, replayed time.Time
		began := time.Now()
		res, err := driftdb.Restore(context.Background(), driftdb.RestoreConfig{
			Name: cfg.Name, Store: cfg.Store, Path: target,
			OnProgress: func(p driftdb.Progress) {
				switch p.Stage {
				case "snapshot":
					fetched = time.Now()
				case "replay":
					replayed = time.Now()
				}
			},
		})
		systemtest.Check(b, err)
		whole := time.Since(began).Seconds()
		if res.Rows != inSnapshot+inLog {
			b.Fatalf("%d rows were restored", res.Rows)
		}
		ours := inLog / replayed.Sub(fetched).Seconds()
		plain := inLog / plainInserts(b, inSnapshot, inLog).Seconds()
		b.ReportMetric(whole, "restore-s")
		b.ReportMetric(fetched.Sub(began).Seconds(), "snapshot-s")
		b.ReportMetric(timeCopy(b, target).Seconds(), "copy-s")
		b.ReportMetric(ours, "replay-rows/s")
		b.ReportMetric(plain, "plain-rows/s")
		b.ReportMetric(ours/plain, "ratio")
	}
	b.ReportMetric(0, "ns/op")
}

// backedUp makes a database of users, with its backup in a folder.
func backedUp(b *testing.B, inSnapshot, inLog int) driftdb.Config {
	b.Helper()
	ctx := context.Background()
	cfg := systemtest.Config(b)
	var err error
	cfg.Store, err = objstore.Dir(b.TempDir())
	systemtest.Check(b, err)
	db, err := driftdb.Open(ctx, cfg)
	systemtest.Check(b, err)
	repo := systemtest.Define[benchUser](b, db, "users")
	create := func(from, to, step int) {
		for ; from < to; from += step {
			users := make([]benchUser, step)
			for i := range users {
				users[i] = newBenchUser(from + i)
			}
			_, err := repo.CreateMany(ctx, users)
			systemtest.Check(b, err)
		}
	}
	create(0, inSnapshot, 10_000)
	_, err = db.Snapshot(ctx)
	systemtest.Check(b, err)
	create(inSnapshot, inSnapshot+inLog, 100)
	systemtest.Check(b, db.Shutdown(ctx))
	return cfg
}

// plainInserts is how long it takes to insert rows by hand, in a transaction.
func plainInserts(b *testing.B, present, rows int) time.Duration {
	b.Helper()
	db, _ := plainFilled(b, present)
	defer db.Close()
	args := make([][]any, rows)
	for i := range args {
		_, args[i] = plainArgs(present + i)
	}
	began := time.Now()
	tx, err := db.Begin()
	systemtest.Check(b, err)
	st, err := tx.Prepare(plainInsert)
	systemtest.Check(b, err)
	for _, a := range args {
		_, err := st.Exec(a...)
		systemtest.Check(b, err)
	}
	systemtest.Check(b, tx.Commit())
	return time.Since(began)
}

// copyFile is how long it takes to copy a file, and to have the copy on disk.
func timeCopy(b *testing.B, path string) time.Duration {
	b.Helper()
	began := time.Now()
	in, err := os.Open(path)
	systemtest.Check(b, err)
	out, err := os.Create(filepath.Join(b.TempDir(), "copy"))
	systemtest.Check(b, err)
	_, err = io.Copy(out, in)
	systemtest.Check(b, errors.Join(err, out.Sync(), out.Close(), in.Close()))
	return time.Since(began)
}
