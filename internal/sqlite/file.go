package sqlite

import (
	"encoding/binary"
	"errors"

	"github.com/driftdb/driftdb-go/internal/cmem"
	lib "modernc.org/sqlite/lib"
)

// Handle returns the operating system's handle of the database file that c has open, for
// locking the file and for identifying it. SQLite owns the handle and closes it.
func (c *Conn) Handle() (uintptr, error) {
	file, err := c.file(lib.SQLITE_FCNTL_FILE_POINTER)
	if err != nil {
		return 0, err
	}
	return handleOfFile(file), nil
}

// file returns the sqlite3_file of main that a file control returns. It is open: it has
// methods.
func (c *Conn) file(control int32) (uintptr, error) {
	cell := cmem.At[uintptr](c.cells)
	*cell = 0
	if rc := lib.Xsqlite3_file_control(c.TLS, c.DB, 0, control, c.cells); rc != lib.SQLITE_OK {
		return 0, c.Err(rc)
	}
	if *cell == 0 || *cmem.At[uintptr](*cell) == 0 {
		return 0, errors.New("sqlite: the connection has no file")
	}
	return *cell, nil
}

// KeepWAL with true makes the connection leave the WAL as it is when it is the last one to be
// closed; with false, SQLite checkpoints it as always.
func (c *Conn) KeepWAL(on bool) error {
	return c.Configure(lib.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, on)
}

// Header holds fields of the header on a database file's first page.
type Header struct {
	WAL      bool // changes go to a -wal, and are not undone by a -journal
	PageSize int
	Pages    int64 // in the file; 0 if the header does not say
}

// These header fields hold the number of pages and whether it can be relied on
// (sqlite.org/fileformat.html, section 1.3.8).
const (
	changeCounter = 24
	pageCount     = 28
	countValidFor = 92
)

// ReadHeader reads the header of the database at path from the file itself, ignoring the files
// beside it. It takes no locks and changes nothing.
func ReadHeader(path string) (h Header, err error) {
	c, err := new(Driver).Open(path, Options{Immutable: true})
	if err != nil {
		return h, err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	first, err := c.page(1)
	if err != nil {
		return h, err
	}
	h = Header{WAL: first[readVersion] == walJournal, PageSize: len(first)}
	if string(first[changeCounter:changeCounter+4]) == string(first[countValidFor:countValidFor+4]) {
		h.Pages = int64(binary.BigEndian.Uint32(first[pageCount:]))
	}
	return h, nil
}

// NotOpened reports whether a file could not be opened. SQLite returns that code for a dozen
// reasons.
func NotOpened(err error) bool { return Code(err)&0xff == lib.SQLITE_CANTOPEN }

// IsReadOnly reports whether a file, or its folder, cannot be written.
func IsReadOnly(err error) bool { return Code(err)&0xff == lib.SQLITE_READONLY }
