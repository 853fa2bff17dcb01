//go:build unix

package sqlite

import (
	"github.com/driftdb/driftdb-go/internal/cmem"
	lib "modernc.org/sqlite/lib"
)

// handleOfFile returns the descriptor in SQLite's file object at p.
func handleOfFile(p uintptr) uintptr { return uintptr(cmem.At[lib.TunixFile](p).Fh) }
