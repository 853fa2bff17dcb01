package engine

import "errors"

// The engine's own errors. What the parts say is passed on.
var (
	// ErrReadOnly says that a write was tried where only reads are possible.
	ErrReadOnly = errors.New("this connection only reads; write through Exec, Tx or a repository")
	// ErrOpenedReadOnly says the same of a whole database.
	ErrOpenedReadOnly = errors.New("the database was opened with Config.ReadOnly; open it without to write, or to use the bucket")
	// ErrDamaged says that the file is damaged, or is no database.
	ErrDamaged = errors.New("data is damaged")
	// ErrReplaced says that another file has taken the place of the one that was opened.
	ErrReplaced = errors.New("the database file is not the one that was opened")
)
