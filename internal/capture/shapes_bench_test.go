package capture_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/driftdb/driftdb-go/internal/apply"
	"github.com/driftdb/driftdb-go/internal/batch"
	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// BenchmarkShapes compares the replay of random tables' logs with the plain statements
// that made them: inserts, and updates and deletes of single rows by their key. It gives
// the ratio of the times: of a half of the tables it is below the median, of all below
// the worst.
func BenchmarkShapes(b *testing.B) {
	var ratios []float64
	worst, worstDDL := 0.0, ""
	seed := uint64(0)
	for b.Loop() {
		g := &shapes{Rand: random(seed, 7)}
		seed++
		ddl := g.table()
		script := g.rows(600)
		if g.nameless || script == nil {
			continue
		}
		plain, replayed := timeShape(b, ddl, script)
		if replayed == 0 {
			continue // a barrier
		}
		ratio := replayed.Seconds() / plain.Seconds()
		ratios = append(ratios, ratio)
		if ratio > worst {
			worst, worstDDL = ratio, strings.Join(ddl, ";\n")
		}
	}
	if len(ratios) > 0 {
		slices.Sort(ratios)
		b.ReportMetric(ratios[len(ratios)/2], "median-ratio")
		b.ReportMetric(worst, "worst-ratio")
		b.Log(len(ratios), "tables; the worst:\n", clip(worstDDL))
	}
}

// rows makes n rows that differ in each column, then changes a third of them and deletes
// another, each by its key. Without a key that a statement can name there is no script.
func (g *shapes) rows(n int) (script []string) {
	if len(g.columns) == 0 || len(g.key) == 0 {
		return nil
	}
	table := sqlite.Quote(g.name)
	for i := range n {
		var names, values []string
		for _, c := range g.columns {
			names, values = append(names, sqlite.Quote(c)), append(values, g.distinct(c, i))
		}
		script = append(script, "INSERT INTO "+table+"("+strings.Join(names, ", ")+") VALUES("+strings.Join(values, ", ")+")")
	}
	for _, i := range g.Perm(n) {
		var where []string
		for _, c := range g.key {
			where = append(where, sqlite.Quote(c)+" = "+g.distinct(c, i))
		}
		at := " WHERE " + strings.Join(where, " AND ")
		switch c := g.columns[len(g.columns)-1]; i % 3 {
		case 0:
			script = append(script, "DELETE FROM "+table+at)
		case 1:
			script = append(script, "UPDATE "+table+" SET "+sqlite.Quote(c)+" = "+g.distinct(c, n+i)+at)
		}
	}
	return script
}

// distinct is a value of the column's type that only row i has.
func (g *shapes) distinct(column string, i int) string {
	switch g.types[column] {
	case "TEXT":
		return fmt.Sprintf("'value %d'", i)
	case "BLOB":
		return fmt.Sprintf("x'%08x'", i)
	case "REAL":
		return fmt.Sprintf("%d.5", i)
	}
	return fmt.Sprint(i)
}

// timeShape runs the script on a plain file and then captured, and replays the log of
// that. The second time is 0 if it cannot be replayed.
func timeShape(b *testing.B, ddl, script []string) (plain, replayed time.Duration) {
	made, err := new(sqlite.Driver).Open(filepath.Join(b.TempDir(), "plain.db"), sqlite.Options{Synchronous: sqlite.SyncOff})
	check(b, err)
	defer made.Close()
	run := func(exec func(string) error) {
		for _, q := range ddl {
			_ = exec(q) // not each index can be made on each table
		}
		check(b, exec("BEGIN"))
		for _, q := range script {
			_ = exec(q) // nor each row put into it: a generated column may have another type
		}
		check(b, exec("COMMIT"))
	}
	began := time.Now()
	run(made.Exec)
	plain = time.Since(began)

	s := newSource(b, 0)
	c := s.conn(b)
	run(func(q string) error { _, err := c.ExecContext(b.Context(), q); return err })
	data, err := s.batch()
	check(b, errors.Join(err, c.Close()))
	in, err := batch.NewReader(bytes.NewReader(data))
	check(b, err)
	to, err := new(sqlite.Driver).Open(filepath.Join(b.TempDir(), "replayed.db"), sqlite.Options{Synchronous: sqlite.SyncOff})
	check(b, err)
	defer to.Close()
	r, err := apply.NewReplay(to)
	check(b, err)
	defer r.Close()
	began = time.Now()
	check(b, to.Exec("BEGIN"))
	for {
		rec, err := in.Next()
		if err == io.EOF {
			break
		}
		check(b, err)
		if err := r.Apply(&rec.Entry); err != nil {
			return plain, 0
		}
	}
	check(b, to.Exec("COMMIT"))
	return plain, time.Since(began)
}

func check(b *testing.B, err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}
