package engine

import "errors"

// The engine's own errors. Errors of its parts are passed on.
var (
	// ErrReadOnly means that a write was attempted where only reads are possible.
	ErrReadOnly = errors.New("this connection only reads; write through Exec, Tx or a repository")
	// ErrOpenedReadOnly means the same for a whole database.
	ErrOpenedReadOnly = errors.New("the database was opened with Config.ReadOnly; open it without to write, or to use the bucket")
	// ErrView means the same for a view of the past.
	ErrView = errors.New("this is a view of the past, which can only be read; write to the database itself")
	// ErrDamaged means that the file is damaged, or is not a database.
	ErrDamaged = errors.New("data is damaged")
	// ErrReplaced means that another file has taken the place of the one that was opened.
	ErrReplaced = errors.New("the database file is not the one that was opened")
)
