// Peers measures DriftDB beside better-sqlite3, which is SQLite in C, and beside plain use
// of the SQLite driver that DriftDB uses. All do the same work in turn, each time in a
// separate process and on a new file, so that a machine whose speed drifts slows all of
// them alike. It prints the medians, and writes them and a chart of them to the folder
// -docs.
//
// It needs Node.js and npm, which install better-sqlite3: see the Makefile's target peers.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The sides. The baseline is better-sqlite3 plain, which logs nothing. Work that it cannot
// do, because it has no goroutines, is compared with plainGo.
const (
	sideOurs   = "DriftDB"
	sideSynced = "DriftDB, syncing"
	sidePlain  = "better-sqlite3"
	sideLogged = "better-sqlite3+log"
	plainGo    = "database/sql"
	sideEngine = "engine alone"
)

var sides = []string{sideOurs, sideSynced, sidePlain, sideLogged, plainGo, sideEngine}

// single reports whether a side is used by one goroutine at a time.
func single(side string) bool { return inJavaScript(side) || side == sideEngine }

func inJavaScript(side string) bool { return side == sidePlain || side == sideLogged }

// work is a kind of work: its name, its description, and how often it is done in a round.
type work struct {
	name, text string
	n          int
}

var works = []work{
	{"insert", "create a row", 20_000},
	{"update", "update a row by id", 20_000},
	{"bulk", "create rows, 10,000 a transaction", 100_000},
	{"lookup", "find a row by id", 100_000},
	{"range", "read rows through an index", 400_000},
	{"insert16", "create a row, 16 goroutines", 40_000},
	{"insert64", "create a row, 64 goroutines", 40_000},
}

func (w work) concurrent() bool { return strings.HasPrefix(w.name, "insert") && w.name != "insert" }

func main() {
	log.SetFlags(0)
	var (
		rounds = flag.Int("rounds", 5, "how often each side does each work")
		scale  = flag.Float64("scale", 1, "of the amount of work")
		only   = flag.String("only", "", "measure this work alone; nothing is written to the folder docs")
		docs   = flag.String("docs", "", "write peers.svg and the table in BENCHMARKS.md in this folder")
		child  = flag.String("side", "", "for the program's own use: measure this side, and print its seconds")
		n      = flag.Int("n", 0, "for the program's own use: how often to do the work")
	)
	flag.Parse()
	if err := run(*rounds, *scale, *only, *docs, *child, *n); err != nil {
		log.Fatal("peers: ", err)
	}
}

func run(rounds int, scale float64, only, docs, child string, n int) error {
	if child != "" {
		took, err := inProcess(child, only, n)
		if err == nil {
			fmt.Println(took.Seconds())
		}
		return err
	}
	rates := rates{}
	for _, w := range works {
		if only != "" && only != w.name {
			continue
		}
		if w.n = int(float64(w.n) * scale); w.n < 1 {
			return fmt.Errorf("-scale %g leaves nothing to do", scale)
		}
		if err := rates.measure(w, rounds); err != nil {
			return err
		}
	}
	fmt.Print(rates.table())
	if docs == "" || only != "" {
		return nil
	}
	return rates.publish(docs, rounds)
}

// inProcess measures a side that is written in Go.
func inProcess(name, work string, n int) (took time.Duration, err error) {
	folder, err := os.MkdirTemp("", "peers")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(folder)
	var s side
	switch name {
	case sideOurs, sideSynced:
		s, err = openOurs(folder, name == sideSynced)
	case sideEngine:
		s, err = openEngine(folder)
	case plainGo:
		s, err = openPlain(folder)
	default:
		err = fmt.Errorf("there is no side %q", name)
	}
	if err != nil {
		return 0, err
	}
	took, err = measure(s, work, n)
	if closed := s.close(); err == nil {
		err = closed
	}
	return took, err
}

// rates are operations per second for each round, by work and side.
type rates map[string]map[string][]float64

// measure lets the sides take turns, in an order that changes with each round.
func (r rates) measure(w work, rounds int) error {
	r[w.name] = map[string][]float64{}
	for round := range rounds {
		for i := range sides {
			side := sides[(i+round)%len(sides)]
			if w.concurrent() && single(side) {
				continue
			}
			took, err := inChild(side, w)
			if err != nil {
				return fmt.Errorf("%s, %s: %w", side, w.name, err)
			}
			r[w.name][side] = append(r[w.name][side], float64(w.n)/took)
		}
		log.Printf("%s: round %d of %d", w.name, round+1, rounds)
	}
	return nil
}

// inChild measures a side in a process of its own.
func inChild(side string, w work) (seconds float64, err error) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	var cmd *exec.Cmd
	if inJavaScript(side) {
		folder, err := os.MkdirTemp("", "peers")
		if err != nil {
			return 0, err
		}
		defer os.RemoveAll(folder)
		cmd = exec.CommandContext(ctx, "node", "peer.mjs", side, w.name, strconv.Itoa(w.n), folder)
	} else {
		self, err := os.Executable()
		if err != nil {
			return 0, err
		}
		cmd = exec.CommandContext(ctx, self, "-side", side, "-only", w.name, "-n", strconv.Itoa(w.n))
	}
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return 0, err
	}
	return strconv.ParseFloat(strings.TrimSpace(string(out)), 64)
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	return sorted[len(sorted)/2]
}

// ratio returns the median of the rounds' ratios a/b, or 0 if one of them was not
// measured.
func (r rates) ratio(work, a, b string) float64 {
	of, by := r[work][a], r[work][b]
	if len(of) == 0 || len(of) != len(by) {
		return 0
	}
	ratios := make([]float64, len(of))
	for i := range of {
		ratios[i] = of[i] / by[i]
	}
	return median(ratios)
}

// publish writes the table between the marks in BENCHMARKS.md, and the chart beside it.
func (r rates) publish(docs string, rounds int) error {
	const begin, end = "<!-- peers -->\n", "<!-- end peers -->"
	path := filepath.Join(docs, "BENCHMARKS.md")
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	before, rest, ok := strings.Cut(string(text), begin)
	_, after, ended := strings.Cut(rest, end)
	if !ok || !ended {
		return fmt.Errorf("%s has no %s and %s", path, strings.TrimSpace(begin), end)
	}
	page := fmt.Sprintf("%s%s\nMedians of %d rounds.\n\n%s\n![Rates beside better-sqlite3](peers.svg)\n\n%s%s", before, begin, rounds, r.table(), end, after)
	if err := os.WriteFile(path, []byte(page), 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(docs, "peers.svg"), []byte(r.chart()), 0o644)
}
