// Mixed measures DriftDB under a mixture of work, beside plain use of the SQLite driver that
// DriftDB uses: goroutines that create, that update, one that loops over transactions of
// DB.SQL, and readers. It prints the rates and waits of each kind, with all kinds together,
// with each one left out in turn, and with the repositories' writers alone.
package main

import (
	"context"
	"flag"
	"fmt"
	"log"
	"os"
	"slices"
	"sync"
	"time"
)

// The kinds of work, and how many goroutines do each.
const (
	creating = "create"
	updating = "update"
	looping  = "transaction"
	finding  = "lookup"
	ranging  = "range"
)

var kinds = []kind{{creating, 4}, {updating, 2}, {looping, 1}, {finding, 6}, {ranging, 2}}

type kind struct {
	name       string
	goroutines int
}

// mixtures are the rounds: their title and the kinds in them.
func mixtures() (out []mixture) {
	out = append(out, mixture{"all kinds", kinds})
	for i, k := range kinds {
		out = append(out, mixture{"without " + k.name, slices.Delete(slices.Clone(kinds), i, i+1)})
	}
	return append(out, mixture{"create and update alone", kinds[:2]}, mixture{"create and update beside transactions", kinds[:3]})
}

type mixture struct {
	title string
	kinds []kind
}

func main() {
	log.SetFlags(0)
	var (
		length = flag.Duration("d", 3*time.Second, "how long each side does each mixture")
		rounds = flag.Int("rounds", 3, "how often; the median of the rounds is printed")
		only   = flag.String("only", "", "measure this mixture alone")
	)
	flag.Parse()
	if err := run(context.Background(), *length, *rounds, *only); err != nil {
		log.Fatal("mixed: ", err)
	}
}

func run(ctx context.Context, length time.Duration, rounds int, only string) error {
	fmt.Println("| mixture | work | DriftDB/s | plain/s | DriftDB p50 / p99 / p99.9 / longest, ms | plain |")
	fmt.Println("|---|---|---|---|---|---|")
	for _, m := range mixtures() {
		if only != "" && only != m.title {
			continue
		}
		var sides [2][]result
		for range rounds {
			for i, open := range []func(context.Context, string) (side, error){openOurs, openPlain} {
				r, err := measure(ctx, open, m, length)
				if err != nil {
					return fmt.Errorf("%s: %w", m.title, err)
				}
				sides[i] = append(sides[i], r)
			}
		}
		for _, k := range m.kinds {
			ours, plain := median(sides[0], k.name), median(sides[1], k.name)
			fmt.Printf("| %s | %s | %.0f | %.0f | %s | %s |\n", m.title, k.name, ours.rate, plain.rate, ours, plain)
		}
	}
	return nil
}

// result is what each kind of work got in a round.
type result map[string]figures

// figures are operations per second, and how long they took, in milliseconds.
type figures struct{ rate, p50, p99, p999, longest float64 }

func (f figures) String() string {
	return fmt.Sprintf("%.2f / %.1f / %.0f / %.0f", f.p50, f.p99, f.p999, f.longest)
}

// median returns the median of each figure over the rounds, and the longest wait of all.
func median(rounds []result, name string) (out figures) {
	of := func(get func(figures) float64) float64 {
		var all []float64
		for _, r := range rounds {
			all = append(all, get(r[name]))
		}
		slices.Sort(all)
		return all[len(all)/2]
	}
	out.rate, out.p50 = of(func(f figures) float64 { return f.rate }), of(func(f figures) float64 { return f.p50 })
	out.p99, out.p999 = of(func(f figures) float64 { return f.p99 }), of(func(f figures) float64 { return f.p999 })
	for _, r := range rounds {
		out.longest = max(out.longest, r[name].longest)
	}
	return out
}

// measure runs a mixture on a new file.
func measure(ctx context.Context, open func(context.Context, string) (side, error), m mixture, length time.Duration) (_ result, err error) {
	folder, err := os.MkdirTemp("", "mixed")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(folder)
	s, err := open(ctx, folder)
	if err != nil {
		return nil, err
	}
	defer func() {
		if closed := s.close(); err == nil {
			err = closed
		}
	}()
	if err := s.fill(ctx); err != nil {
		return nil, err
	}
	var (
		all    sync.WaitGroup
		mu     sync.Mutex
		took   = map[string][]time.Duration{}
		failed error
		began  = time.Now()
	)
	for _, k := range m.kinds {
		for g := range k.goroutines {
			all.Go(func() {
				waits, err := loop(ctx, s, k, g, began.Add(length))
				mu.Lock()
				defer mu.Unlock()
				took[k.name] = append(took[k.name], waits...)
				if err != nil {
					failed = fmt.Errorf("%s: %w", k.name, err)
				}
			})
		}
	}
	all.Wait()
	out := result{}
	for name, waits := range took {
		out[name] = summary(waits, length)
	}
	return out, failed
}

// loop does one kind of work until end, and returns how long each operation took.
func loop(ctx context.Context, s side, k kind, g int, end time.Time) (waits []time.Duration, err error) {
	for i := g; ; i += k.goroutines {
		began := time.Now()
		if !began.Before(end) {
			return waits, nil
		}
		switch k.name {
		case creating:
			err = s.create(ctx, i)
		case updating:
			err = s.update(ctx, i)
		case looping:
			err = s.transaction(ctx, i)
		case finding:
			err = s.lookup(ctx, i)
		case ranging:
			err = s.span(ctx, i)
		}
		if err != nil {
			return nil, err
		}
		waits = append(waits, time.Since(began))
	}
}

func summary(waits []time.Duration, length time.Duration) figures {
	if len(waits) == 0 {
		return figures{}
	}
	slices.Sort(waits)
	at := func(q float64) float64 { return float64(waits[int(q*float64(len(waits)-1))].Microseconds()) / 1000 }
	return figures{float64(len(waits)) / length.Seconds(), at(.5), at(.99), at(.999), at(1)}
}
