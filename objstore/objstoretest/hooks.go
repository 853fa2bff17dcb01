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

// From applies a fault to the nth call and all later ones, like a pulled cable or a dead
// process.
func From(n int, fault Fault) Hook {
	return func(c Call) Fault {
		if c.N >= n {
			return fault
		}
		return Fault{}
	}
}

// Only asks hook about the calls of one operation and lets others through.
func Only(op Op, hook Hook) Hook {
	return func(c Call) Fault {
		if c.Op == op {
			return hook(c)
		}
		return Fault{}
	}
}

// First asks each hook in turn, and returns the first fault.
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

// transient are the statuses of the errors that [Seeded] injects.
var transient = []int{
	http.StatusConflict, http.StatusTooManyRequests, http.StatusInternalServerError, http.StatusServiceUnavailable,
}

// Seeded injects random faults with a probability of rate (0 to 1): calls fail with a
// transient error, take effect and lose the response, or have their bodies cut. A caller
// that keeps retrying succeeds in the end.
//
// Whether and how a call fails depends only on the seed and the call's Op, Key and Try,
// not on the order of concurrent calls.
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
