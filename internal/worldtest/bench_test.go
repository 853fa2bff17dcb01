package worldtest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/systemtest"
)

// BenchmarkOpenAmongFiles opens and closes a database in a folder with 4 files and in
// one with 40,000, in turn, and reports the ratio of the medians.
func BenchmarkOpenAmongFiles(b *testing.B) {
	dir := folder(b, "few", "many")
	for name, n := range map[string]int{"few": 4, "many": 40_000} {
		for i := range n {
			systemtest.Check(b, os.WriteFile(filepath.Join(dir, name, fmt.Sprintf("file-%05d", i)), nil, 0o644))
		}
	}
	open := func(folder string) time.Duration {
		began := time.Now()
		db, err := driftdb.Open(context.Background(), driftdb.Config{Name: "app", Path: filepath.Join(dir, folder, "app.sqlite")})
		took := time.Since(began)
		systemtest.Check(b, err)
		systemtest.Check(b, db.Close())
		return took
	}
	open("few")
	open("many")
	var few, many []time.Duration
	for b.Loop() {
		few, many = append(few, open("few")), append(many, open("many"))
	}
	median := func(d []time.Duration) float64 { slices.Sort(d); return float64(d[len(d)/2]) }
	b.ReportMetric(median(few)/1e6, "few-ms")
	b.ReportMetric(median(many)/1e6, "many-ms")
	b.ReportMetric(median(many)/median(few), "many/few")
	b.ReportMetric(0, "ns/op")
}
