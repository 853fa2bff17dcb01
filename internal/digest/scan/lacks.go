package scan

import (
	"github.com/driftdb/driftdb-go/internal/sqlite"
	lib "modernc.org/sqlite/lib"
)

// Lacks says that SQLite cannot compile a statement that reads a table: this program
// has not registered the function, collation, tokenizer or module that the schema
// names. SQLite does not always say so in words; but what it makes of damage, of the
// disk or of an interrupt has a code of its own.
func Lacks(err error) bool { return sqlite.Code(err)&0xff == lib.SQLITE_ERROR }
