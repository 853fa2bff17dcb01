// Package inside tells whether a call comes from inside another one on the same goroutine.
// So a call that would wait for its own caller can return an error instead of hanging.
//
// It examines the stack itself: Call goes through functions of this package that spell the
// number of its place. That costs Call some nanoseconds, and Here some microseconds.
// (Comparing goroutine numbers instead would require knowing one beforehand, and getting
// it costs more the deeper the stack is.)
package inside

import (
	"reflect"
	"runtime"
	"sync/atomic"
)

// Place identifies calls that others can be inside of.
type Place uint64

var places atomic.Uint64

// New returns a new, distinct place.
func New() Place { return Place(places.Add(1)) }

// Call calls fn inside p.
func (p Place) Call(fn func()) { begin(uint64(p), fn) }

// Here reports whether the caller runs inside p.
func (p Place) Here() bool {
	var pcs [64]uintptr
	var read uint64
	for skip := 2; ; skip += len(pcs) {
		n := runtime.Callers(skip, pcs[:])
		for _, pc := range pcs[:n] {
			switch digit, ours := spelled[runtime.FuncForPC(pc-1).Entry()]; {
			case !ours:
			case digit >= 0:
				read = read<<4 | uint64(digit)
			default:
				if read == uint64(p) {
					return true
				}
				read = 0
			}
		}
		if n < len(pcs) {
			return false
		}
	}
}

// begin spells n, the lowest digit first. Reading the stack from its top yields the highest
// digit first, and begin last.
//
//go:noinline
func begin(n uint64, fn func()) { spell(n, fn) }

func spell(n uint64, fn func()) {
	if n == 0 {
		fn()
		return
	}
	digit(int(n&15))(n>>4, fn)
}

// spelled maps the addresses of the functions that spell a number to their digits; -1 is
// begin.
var spelled = func() map[uintptr]int {
	m := map[uintptr]int{reflect.ValueOf(begin).Pointer(): -1}
	for i := range 16 {
		m[reflect.ValueOf(digit(i)).Pointer()] = i
	}
	return m
}()

func digit(n int) func(uint64, func()) {
	return [...]func(uint64, func()){d0, d1, d2, d3, d4, d5, d6, d7, d8, d9, dA, dB, dC, dD, dE, dF}[n]
}

//go:noinline
func d0(rest uint64, fn func()) { spell(rest, fn) }

//go:noinline
func d1(rest uint64, fn func()) { spell(rest, fn) }

//go:noinline
func d2(rest uint64, fn func()) { spell(rest, fn) }

//go:noinline
func d3(rest uint64, fn func()) { spell(rest, fn) }

//go:noinline
func d4(rest uint64, fn func()) { spell(rest, fn) }

//go:noinline
func d5(rest uint64, fn func()) { spell(rest, fn) }

//go:noinline
func d6(rest uint64, fn func()) { spell(rest, fn) }

//go:noinline
func d7(rest uint64, fn func()) { spell(rest, fn) }

//go:noinline
func d8(rest uint64, fn func()) { spell(rest, fn) }

//go:noinline
func d9(rest uint64, fn func()) { spell(rest, fn) }

//go:noinline
func dA(rest uint64, fn func()) { spell(rest, fn) }

//go:noinline
func dB(rest uint64, fn func()) { spell(rest, fn) }

//go:noinline
func dC(rest uint64, fn func()) { spell(rest, fn) }

//go:noinline
func dD(rest uint64, fn func()) { spell(rest, fn) }

//go:noinline
func dE(rest uint64, fn func()) { spell(rest, fn) }

//go:noinline
func dF(rest uint64, fn func()) { spell(rest, fn) }
