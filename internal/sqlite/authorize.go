package sqlite

import (
	"sync"

	"modernc.org/libc"
	lib "modernc.org/sqlite/lib"
)

// Action is an operation that a statement asks to perform: one of SQLite's codes
// (SQLITE_CREATE_TABLE …) and its object, as sqlite3_set_authorizer defines them.
type Action struct {
	Code     int32
	Arg, On  string // the code's two arguments
	Database string // main, temp, or the name of an attached database
}

// authorizers holds the function of each connection that has one, by its sqlite3*.
var authorizers sync.Map

// Authorize makes allow decide on each action of the statements compiled from now until stop
// is called, including those that SQLite and virtual tables run on behalf of other statements.
// An action that it does not allow fails with SQLITE_AUTH.
func (c *Conn) Authorize(allow func(Action) bool) (stop func()) {
	authorizers.Store(c.DB, allow)
	lib.Xsqlite3_set_authorizer(c.TLS, c.DB, CFunc(authorize), c.DB)
	return func() {
		lib.Xsqlite3_set_authorizer(c.TLS, c.DB, 0, 0)
		authorizers.Delete(c.DB)
	}
}

func authorize(_ *libc.TLS, db uintptr, code int32, arg, on, database, _ uintptr) int32 {
	allow, ok := authorizers.Load(db)
	if ok && allow.(func(Action) bool)(Action{code, text(arg), text(on), text(database)}) {
		return lib.SQLITE_OK
	}
	return lib.SQLITE_DENY
}

// text returns a C string, or "" for NULL.
func text(p uintptr) string {
	if p == 0 {
		return ""
	}
	return string(CString(p))
}

// distrust confines an untrusted schema to the database itself: no other file can be attached,
// the schema can call only functions marked harmless, and pages are checked more strictly.
func (c *Conn) distrust() error {
	lib.Xsqlite3_limit(c.TLS, c.DB, lib.SQLITE_LIMIT_ATTACHED, 0)
	if err := c.Configure(lib.SQLITE_DBCONFIG_TRUSTED_SCHEMA, false); err != nil {
		return err
	}
	return c.Exec("PRAGMA cell_size_check=ON")
}
