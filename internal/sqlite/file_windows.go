package sqlite

import lib "modernc.org/sqlite/lib"

// handleOfFile is the handle in SQLite's file object at p.
func handleOfFile(p uintptr) uintptr { return uintptr(At[lib.TwinFile](p).Fh) }
