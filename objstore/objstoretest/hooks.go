package objstoretest

import (
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"net/http"
)

// On applies a fault to the nth call, counted from 1.
func On(n int, fault Fault) Hook {
	return func(c Call) Fault {
		if c.N == n {
			return fault
		}
		return Fault{}
	}
}

// From applies a fault to the nth call and all after it: a cable that is
// pulled, or a process that has died.
func From(n int, fault Fault) Hook {
	return func(c Call) Fault {
		if c.N >= n {
			return fault
		}
		return Fault{}
	}
}

// Only asks hook about the calls of one operation.
func Only(op Op, hook Hook) Hook {
	return func(c Call) Fault {
		if c.Op == op {
			return hook(c)
		}
		return Fault{}
	}
}

// First asks each hook in turn, and takes the first fault.
func First(hooks ...Hook) Hook {
	return func(c Call) Fault {
		for _, hook := range hooks {
			if fault := hook(c); fault != (Fault{}) {
				return fault
			}
		}
		return Fault{}
	}
}

// transient are the statuses that a [Seeded] fault answers with.
var transient = []int{
	http.StatusConflict, http.StatusTooManyRequests, http.StatusInternalServerError, http.StatusServiceUnavailable,
}

// Seeded lets calls go wrong at random, with a probability of rate (0 to 1):
// they fail with a transient error, take effect and lose the answer, or have
// their bodies cut. What a patient caller does again, it gets in the end.
//
// Whether and how a call goes wrong depends on the seed, its Op, Key and Try
// alone, not on the order of concurrent calls.
func Seeded(seed uint64, rate float64) Hook {
	return func(c Call) Fault {
		h := fnv.New64a()
		fmt.Fprintf(h, "%s %d %s", c.Op, c.Try, c.Key)
		rng := rand.New(rand.NewPCG(seed, h.Sum64()))
		if rng.Float64() >= rate {
			return Fault{}
		}
		return Fault{
			Kind: []Kind{Fail, Lose, Cut}[rng.IntN(3)],
			Err:  Status(transient[rng.IntN(len(transient))]),
			At:   rng.Int64N(1 << rng.IntN(21)), // small bodies are cut as often as large ones
		}
	}
}
