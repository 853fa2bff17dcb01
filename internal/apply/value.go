package apply

import (
	"github.com/driftdb/driftdb-go/internal/change"
	"github.com/driftdb/driftdb-go/internal/sqlite"
	lib "modernc.org/sqlite/lib"
)

// Value returns column i of the row at which st is, exactly: the inverse of Bind.
func Value(st *sqlite.Stmt, i int) change.Value {
	switch st.Type(i) {
	case lib.SQLITE_INTEGER:
		return change.Value{Kind: change.Integer, Int: st.Int64(i)}
	case lib.SQLITE_FLOAT:
		return change.Value{Kind: change.Real, Real: st.Float(i)}
	case lib.SQLITE_TEXT:
		return change.Value{Kind: change.Text, Bytes: st.Blob(i)}
	case lib.SQLITE_BLOB:
		return change.Value{Kind: change.Blob, Bytes: st.Blob(i)}
	}
	return change.Value{}
}
