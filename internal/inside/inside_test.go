package inside_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/driftdb/driftdb-go/internal/inside"
)

// TestHere: a call knows all the places that it is inside of, at any depth, and
// no other one.
func TestHere(t *testing.T) {
	var all []inside.Place
	for range 300 {
		all = append(all, inside.New())
	}
	all = append(all, 1<<20, 0xfedcba9876543210, 1<<63, 0x1000000000000001)
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 0))
		var in []inside.Place
		var enter func(depth int)
		enter = func(depth int) {
			if depth == 0 {
				for _, p := range all {
					if got, want := p.Here(), slices.Contains(in, p); got != want {
						t.Errorf("seed %d: inside %x, %x says %v", seed, in, p, got)
					}
				}
				return
			}
			p := all[r.IntN(len(all))]
			in = append(in, p)
			between(r.IntN(100), func() { p.Call(func() { enter(depth - 1) }) })
		}
		enter(r.IntN(5))
	}
}

// between puts n frames onto the stack.
func between(n int, fn func()) {
	if n == 0 {
		fn()
		return
	}
	between(n-1, fn)
}

// TestOtherGoroutines are not inside, and a place is left by a panic as well.
func TestOtherGoroutines(t *testing.T) {
	p := inside.New()
	p.Call(func() {
		var other sync.WaitGroup
		other.Go(func() {
			if p.Here() {
				t.Error("a goroutine that was started inside is not inside")
			}
		})
		other.Wait()
		synctest.Test(t, func(t *testing.T) {
			p.Call(func() {
				if !p.Here() {
					t.Error("in a bubble")
				}
			})
		})
	})
	func() {
		defer func() { _ = recover() }()
		p.Call(func() { panic("oops") })
	}()
	if p.Here() {
		t.Error("still inside after a panic")
	}
}

func BenchmarkCall(b *testing.B) {
	p := inside.New()
	for b.Loop() {
		p.Call(func() {})
	}
}

func BenchmarkHere(b *testing.B) {
	p := inside.New()
	for _, depth := range []int{0, 10, 30, 90} {
		b.Run(fmt.Sprint(depth), func(b *testing.B) {
			between(depth, func() {
				for b.Loop() {
					p.Here()
				}
			})
		})
	}
}
