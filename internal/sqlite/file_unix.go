//go:build unix

package sqlite

import lib "modernc.org/sqlite/lib"

// handleOfFile is the descriptor in SQLite's file object at p.
func handleOfFile(p uintptr) uintptr { return uintptr(At[lib.TunixFile](p).Fh) }
