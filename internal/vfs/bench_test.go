package vfs

import (
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/driftdb/driftdb-go/internal/cmem"
	"modernc.org/libc"
	lib "modernc.org/sqlite/lib"
)

// BenchmarkCommit does the same with the platform's VFS and with ours, in many short turns,
// and reports the medians: of the microseconds, and of the ratios of turns side by side.
func BenchmarkCommit(b *testing.B) {
	tls := libc.NewTLS()
	defer tls.Close()
	platform := libc.GoString(cmem.At[lib.Tsqlite3_vfs](lib.Xsqlite3_vfs_find(tls, 0)).FzName)
	name, err := Name()
	if err != nil {
		b.Fatal(err)
	}
	for _, work := range []struct {
		name, script string
		times, rows  int // of the script in a turn, in a script
	}{
		{"insert", "INSERT INTO t(a, b) VALUES(hex(randomblob(16)), abs(random()) % 100000)", 200, 1},
		{"update", "UPDATE t SET c = 'y' || random() WHERE id = abs(random()) % 1000", 200, 1},
		{"bulk", "BEGIN; WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i+1 FROM n LIMIT 5000) " +
			"INSERT INTO t(a, b) SELECT hex(randomblob(16)), abs(random()) % 100000 FROM n; COMMIT", 1, 5000},
	} {
		b.Run(work.name, func(b *testing.B) {
			var conns [2]*conn
			for i, vfs := range []string{platform, name} {
				conns[i] = connect(b, vfs, filepath.Join(b.TempDir(), "app.db"))
				conns[i].exec("PRAGMA synchronous=NORMAL; PRAGMA cache_size=-65536; PRAGMA wal_autocheckpoint(0);" +
					"CREATE TABLE t(id INTEGER PRIMARY KEY, a UNIQUE, b, c DEFAULT ''); CREATE INDEX t_b ON t(b);" + rowsOf(1000))
			}
			var took [2][]float64
			var ratio []float64
			turn := 0
			for b.Loop() {
				if turn++; turn%20 == 0 {
					conns[0].exec("PRAGMA wal_checkpoint(TRUNCATE)")
					conns[1].exec("PRAGMA wal_checkpoint(TRUNCATE)")
				}
				for i := range conns {
					i = (i + turn) % 2
					start := time.Now()
					for range work.times {
						conns[i].exec(work.script)
					}
					took[i] = append(took[i], float64(time.Since(start).Nanoseconds())/1e3/float64(work.times*work.rows))
				}
				ratio = append(ratio, took[0][len(took[0])-1]/took[1][len(took[1])-1])
			}
			b.ReportMetric(median(took[0]), "µs-platform")
			b.ReportMetric(median(took[1]), "µs-ours")
			b.ReportMetric(median(ratio), "times-as-fast")
			b.ReportMetric(0, "ns/op")
		})
	}
}

func median(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	return v[len(v)/2]
}
