package sqlite

import (
	"sync"

	"modernc.org/libc"
	lib "modernc.org/sqlite/lib"
)

// Action is what a statement is about to be allowed to do: one of SQLite's codes
// (SQLITE_CREATE_TABLE …), and what it does that to, as sqlite3_set_authorizer has it.
type Action struct {
	Code     int32
	Arg, On  string // the two arguments of the code
	Database string // main, temp, or the name of an attached one
}

// authorizers has the function of each connection that has one, by its sqlite3*.
var authorizers sync.Map

// Authorize lets allow judge each action of the statements that are compiled from now on,
// also of those that SQLite and virtual tables run for others, until stop is called. What
// it does not allow fails with SQLITE_AUTH.
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

// text is a string of C's, which may be none.
func text(p uintptr) string {
	if p == 0 {
		return ""
	}
	return string(CString(p))
}

// distrust lets what a stranger's schema says reach nothing but the database itself: no
// other file can be attached, functions that are not harmless cannot be called by the
// schema, and pages are looked at twice.
func (c *Conn) distrust() error {
	lib.Xsqlite3_limit(c.TLS, c.DB, lib.SQLITE_LIMIT_ATTACHED, 0)
	if err := c.Configure(lib.SQLITE_DBCONFIG_TRUSTED_SCHEMA, false); err != nil {
		return err
	}
	return c.Exec("PRAGMA cell_size_check=ON")
}
