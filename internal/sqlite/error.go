package sqlite

import (
	"errors"
	"fmt"

	lib "modernc.org/sqlite/lib"
)

// Error is what SQLite answered.
type Error struct {
	Code         int    // the result code, such as SQLITE_CONSTRAINT
	ExtendedCode int    // the same with its extension, such as SQLITE_CONSTRAINT_UNIQUE
	Message      string // what SQLite says

	driver error // the driver's own, if that has run the statement
}

// Error is the message with the extended code, or what the driver makes of them.
func (e *Error) Error() string {
	if e.driver != nil {
		return e.driver.Error()
	}
	return fmt.Sprintf("%s (%d)", e.Message, e.ExtendedCode)
}

// Unwrap returns the driver's error, if there is one.
func (e *Error) Unwrap() error { return e.driver }

// NewError is an error with an extended result code.
func NewError(code int, message string) *Error {
	return &Error{Code: code & 0xff, ExtendedCode: code, Message: message}
}

// Code returns the extended result code that err carries, and 0 when it carries none.
func Code(err error) int {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.ExtendedCode
	}
	return 0
}

// IsSchema says that the schema changed again each time that a statement was compiled
// for it: with many tables that takes longer than it takes others to change it.
func IsSchema(err error) bool { return Code(err)&0xff == lib.SQLITE_SCHEMA }

// IsBusy says that another connection held a lock for longer than the busy
// timeout, or that the transaction's view is too old to write on.
func IsBusy(err error) bool { return Code(err)&0xff == lib.SQLITE_BUSY }

// IsInterrupted says that a statement was stopped by Interrupt, or by the rollback
// of its transaction, which is what an interrupted statement that writes may end in.
func IsInterrupted(err error) bool {
	code := Code(err)
	return code&0xff == lib.SQLITE_INTERRUPT || code == lib.SQLITE_ABORT_ROLLBACK
}

// Stopped says that a statement may have failed because of Interrupt: it was
// running, or waiting for a lock.
func Stopped(err error) bool { return IsInterrupted(err) || IsBusy(err) }

// IsNotDatabase says that the file is no SQLite database, or that its pages
// contradict each other.
func IsNotDatabase(err error) bool {
	c := Code(err) & 0xff
	return c == lib.SQLITE_NOTADB || c == lib.SQLITE_CORRUPT
}

// IsCorrupt says that the pages of a database contradict each other. A file whose
// WAL was being copied back into it when the process died does so without its WAL.
func IsCorrupt(err error) bool { return Code(err)&0xff == lib.SQLITE_CORRUPT }

// IsFull says that a write found no room, or that the system would not let it
// have more: what SQLite makes of a quota is an error of the write.
func IsFull(err error) bool {
	c := Code(err)
	return c&0xff == lib.SQLITE_FULL || c == lib.SQLITE_IOERR_WRITE
}

// RollsBack says that the error is one after which SQLite may end the whole transaction
// by itself: it had no memory or no room, or could not read or write.
func RollsBack(err error) bool {
	switch Code(err) & 0xff {
	case lib.SQLITE_FULL, lib.SQLITE_IOERR, lib.SQLITE_NOMEM:
		return true
	}
	return false
}

// IsConstraint says that a row broke a constraint.
func IsConstraint(err error) bool { return Code(err)&0xff == lib.SQLITE_CONSTRAINT }

// IsBypassed says that a commit was refused because somebody else has committed
// in between, and no barrier stands for that yet: see Ledger.
func IsBypassed(err error) bool { return Code(err) == lib.SQLITE_CONSTRAINT_COMMITHOOK }
