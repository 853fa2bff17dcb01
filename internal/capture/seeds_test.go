package capture_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
)

// seedRange is for long runs: go test -run Random -seeds 0-5000. One seed alone
// is -seeds 17.
var seedRange = flag.String("seeds", "", "run random tests with these seeds, `from-to` or one number")

// eachSeed runs fn for a range of seeds: few with -short, some dozens by
// default, those of -seeds if it is given.
func eachSeed(t *testing.T, short, normal uint64, fn func(t *testing.T, seed uint64)) {
	from, to := uint64(0), normal
	if testing.Short() {
		to = short
	}
	if *seedRange != "" {
		a, b, several := strings.Cut(*seedRange, "-")
		var err error
		if from, err = strconv.ParseUint(a, 10, 64); err != nil {
			t.Fatal(err)
		}
		to = from + 1
		if several {
			if to, err = strconv.ParseUint(b, 10, 64); err != nil {
				t.Fatal(err)
			}
		}
	}
	for seed := from; seed < to; seed++ {
		t.Run(fmt.Sprintf("seed=%d", seed), func(t *testing.T) {
			t.Parallel()
			fn(t, seed)
		})
	}
}

func random(seed, stream uint64) *rand.Rand { return rand.New(rand.NewPCG(seed, stream)) }

// pick returns one of choices.
func pick[T any](r *rand.Rand, choices ...T) T { return choices[r.IntN(len(choices))] }
