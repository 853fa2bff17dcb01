package scan

import (
	"github.com/driftdb/driftdb-go/internal/sqlite"
	lib "modernc.org/sqlite/lib"
)

// Lacks reports whether err means that SQLite cannot compile a statement that reads a
// table, because this program has not registered a function, collation, tokenizer or
// module that the schema names. SQLite's message does not always say so, but damage,
// disk errors and interrupts have codes of their own.
func Lacks(err error) bool { return sqlite.Code(err)&0xff == lib.SQLITE_ERROR }
