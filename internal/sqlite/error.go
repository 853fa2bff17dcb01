package sqlite

import (
	"errors"
	"fmt"

	lib "modernc.org/sqlite/lib"
)

// Error is an error that SQLite returned.
type Error struct {
	Code         int    // the result code, such as SQLITE_CONSTRAINT
	ExtendedCode int    // the extended code, such as SQLITE_CONSTRAINT_UNIQUE
	Message      string // SQLite's message

	driver error // the driver's own error, if the driver ran the statement
}

// Error returns the message with the extended code, or the driver's text.
func (e *Error) Error() string {
	if e.driver != nil {
		return e.driver.Error()
	}
	return fmt.Sprintf("%s (%d)", e.Message, e.ExtendedCode)
}

// Unwrap returns the driver's error, if there is one.
func (e *Error) Unwrap() error { return e.driver }

// NewError returns an error with an extended result code.
func NewError(code int, message string) *Error {
	return &Error{Code: code & 0xff, ExtendedCode: code, Message: message}
}

// Busy returns the error of a lock that was not had in time.
func Busy(message string) *Error { return NewError(lib.SQLITE_BUSY, message) }

// Code returns the extended result code that err carries, or 0.
func Code(err error) int {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.ExtendedCode
	}
	return 0
}

// IsSchema reports whether the schema changed again each time that a statement was compiled
// for it. With many tables, compiling takes longer than it takes another connection to change
// it.
func IsSchema(err error) bool { return Code(err)&0xff == lib.SQLITE_SCHEMA }

// IsBusy reports whether another connection held a lock for longer than the busy timeout, or
// the transaction's snapshot is too old to write on.
func IsBusy(err error) bool { return Code(err)&0xff == lib.SQLITE_BUSY }

// IsInterrupted reports whether a statement was stopped by Interrupt, or by the rollback of
// its transaction: interrupting a statement that writes may cause one. If a virtual table was
// being declared, SQLite passes on only the text.
func IsInterrupted(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && (e.Code == lib.SQLITE_INTERRUPT || e.ExtendedCode == lib.SQLITE_ABORT_ROLLBACK ||
		e.ExtendedCode == lib.SQLITE_ERROR && e.Message == interrupted)
}

// interrupted is the message of SQLITE_INTERRUPT.
const interrupted = "interrupted"

// Stopped reports whether a statement may have failed because of Interrupt: it was running, or
// waiting for a lock.
func Stopped(err error) bool { return IsInterrupted(err) || IsBusy(err) }

// IsNotDatabase reports whether the file is not an SQLite database, or its pages contradict
// each other.
func IsNotDatabase(err error) bool {
	c := Code(err) & 0xff
	return c == lib.SQLITE_NOTADB || c == lib.SQLITE_CORRUPT
}

// IsCorrupt reports whether the pages of a database contradict each other. So do those of a
// file without its WAL if the process died while copying the WAL back into it.
func IsCorrupt(err error) bool { return Code(err)&0xff == lib.SQLITE_CORRUPT }

// IsFull reports whether a write found no space, or the system refused more: SQLite reports an
// exceeded quota as a write error.
func IsFull(err error) bool {
	c := Code(err)
	return c&0xff == lib.SQLITE_FULL || c == lib.SQLITE_IOERR_WRITE
}

// RollsBack reports whether SQLite may roll back the whole transaction on its own after this
// error: it was out of memory or disk space, or could not read or write.
func RollsBack(err error) bool {
	switch Code(err) & 0xff {
	case lib.SQLITE_FULL, lib.SQLITE_IOERR, lib.SQLITE_NOMEM:
		return true
	}
	return false
}

// IsConstraint reports whether a row violated a constraint.
func IsConstraint(err error) bool { return Code(err)&0xff == lib.SQLITE_CONSTRAINT }

// IsUnique reports whether another row has a value that must be unique: of a UNIQUE column, a
// primary key, or the rowid.
func IsUnique(err error) bool {
	code := Code(err)
	return code == lib.SQLITE_CONSTRAINT_UNIQUE || code == lib.SQLITE_CONSTRAINT_PRIMARYKEY || code == lib.SQLITE_CONSTRAINT_ROWID
}

// IsBypassed reports whether a commit was refused because another program has committed in
// between and no barrier records that yet; see Ledger.
func IsBypassed(err error) bool { return Code(err) == lib.SQLITE_CONSTRAINT_COMMITHOOK }
