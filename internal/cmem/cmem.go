// Package cmem views the memory of SQLite's transpiled C code: what an address holds, and the
// functions that C calls by address. It is the only package that needs unsafe.
package cmem

import "unsafe"

// At views the C memory at p as a *T. The address passes through a Go variable because C
// memory is not Go's: converting the number itself would trip vet and checkptr, which guard
// pointers into Go's heap.
func At[T any](p uintptr) *T { return *(**T)(unsafe.Pointer(&p)) }

// Address is the reverse of At, for a Go value that C gets as a handle. The caller must keep
// the value alive; Go does not move it.
func Address[T any](v *T) uintptr { return uintptr(unsafe.Pointer(v)) }

// Size is the size of a T in bytes.
func Size[T any]() uintptr { return unsafe.Sizeof(*new(T)) }

// CFunc returns the address at which SQLite's transpiled code calls f.
func CFunc[T any](f T) uintptr { return *(*uintptr)(unsafe.Pointer(&struct{ f T }{f})) }

// GoFunc returns the function at address p, where SQLite's transpiled code calls it: the
// reverse of CFunc.
func GoFunc[T any](p uintptr) T { return *(*T)(unsafe.Pointer(&struct{ p uintptr }{p})) }

// Bytes views n bytes of C memory at p. They are valid for as long as SQLite keeps them.
func Bytes(p uintptr, n int) []byte {
	if n == 0 || p == 0 {
		return nil
	}
	return unsafe.Slice(At[byte](p), n)
}
