package scale_test

import (
	"os"
	"runtime/debug"
	"strconv"
	"testing"
	"time"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/systemtest"
	"github.com/driftdb/driftdb-go/objstore"
)

// TestDiffMemory: what the differences of many rows take, in memory and time. "make diffs"
// runs it at full size.
func TestDiffMemory(t *testing.T) {
	rows, err := strconv.Atoi(os.Getenv("DRIFTDB_DIFF_ROWS"))
	if err != nil {
		t.Skip("set DRIFTDB_DIFF_ROWS to the number of rows that change")
	}
	cfg := systemtest.Config(t)
	cfg.Store = systemtest.Must(objstore.Dir(t.TempDir()))
	db := systemtest.Open(t, cfg, systemtest.Ends(nil))
	systemtest.Exec(t, db, "CREATE TABLE packages(id INTEGER PRIMARY KEY, name TEXT UNIQUE, section TEXT, size INT)")
	const step = 50_000 // a transaction
	for i := 0; i < rows; i += step {
		systemtest.Exec(t, db, `WITH RECURSIVE n(i) AS (SELECT ?1 UNION ALL SELECT i + 1 FROM n WHERE i < ?2)
			INSERT INTO packages SELECT i, 'package-' || i, 'section ' || (i % 50), i * 7 FROM n`, i, min(i+step, rows)-1)
	}
	from := db.Sequence()
	for i := 0; i < rows; i += step {
		systemtest.Exec(t, db, "UPDATE packages SET section = '' WHERE id >= ? AND id < ?", i, i+step)
	}
	systemtest.Check(t, db.Flush(t.Context()))
	debug.FreeOSMemory()
	systemtest.Check(t, os.WriteFile("/proc/self/clear_refs", []byte("5"), 0)) // forgets the peak
	before, err := resident("VmRSS")
	systemtest.Check(t, err)
	start, n := time.Now(), 0
	for _, err := range db.Backup().Diff(t.Context(), driftdb.Point{Sequence: from}, driftdb.Point{}) {
		systemtest.Check(t, err)
		n++
	}
	peak, err := resident("VmHWM")
	systemtest.Check(t, err)
	t.Logf("%d differences in %s; memory grew by %d MiB to %d MiB", n, time.Since(start).Round(time.Millisecond), (peak-before)>>20, peak>>20)
	if n != rows {
		t.Errorf("%d differences of %d rows", n, rows)
	}
	if peak-before > 200<<20 {
		t.Error("the differences take more than 200 MiB")
	}
}
