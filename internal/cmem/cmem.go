// Package cmem views the memory of SQLite's transpiled C code: what an address
// holds, and the functions that C calls by their addresses. It is the only one that
// needs unsafe.
package cmem

import "unsafe"

// At views the C memory at p as a *T. The address passes through a Go
// variable because C memory is not Go's: converting the number itself would
// trip vet and checkptr, which guard pointers into Go's heap.
func At[T any](p uintptr) *T { return *(**T)(unsafe.Pointer(&p)) }

// Address is the reverse of At for a Go value that C gets as a handle. Something else
// has to keep the value alive; Go does not move it.
func Address[T any](v *T) uintptr { return uintptr(unsafe.Pointer(v)) }

// Size is how many bytes a T takes.
func Size[T any]() uintptr { return unsafe.Sizeof(*new(T)) }

// CFunc is the address of f as SQLite's transpiled code calls it.
func CFunc[T any](f T) uintptr { return *(*uintptr)(unsafe.Pointer(&struct{ f T }{f})) }

// GoFunc is the function whose address, as SQLite's transpiled code calls it, is p:
// the reverse of CFunc.
func GoFunc[T any](p uintptr) T { return *(*T)(unsafe.Pointer(&struct{ p uintptr }{p})) }

// Bytes views n bytes of C memory at p. They are valid for as long as SQLite
// says so.
func Bytes(p uintptr, n int) []byte {
	if n == 0 || p == 0 {
		return nil
	}
	return unsafe.Slice(At[byte](p), n)
}
