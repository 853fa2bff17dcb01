package driftdb

import (
	"fmt"
	"hash/crc32"
	"os"

	"github.com/driftdb/driftdb-go/internal/dbfile"
)

// note says how we left a file. It is kept in FILE-lock, and stays until the file is
// left again; a crash in between is told by the WAL.
type note struct {
	file fileStat
	sum  uint64 // of the last commit in the WAL, which stays when another program has the file open

	inode uint64 // of the file, 0 if that is not known: see dbfile.File
	open  bool   // there was more in the WAL than in the file
}

// fileStat is what a file's directory entry says.
type fileStat struct {
	size, modified int64 // bytes; Unix ns
}

// stat, unlike open, leaves SQLite's locks alone.
func stat(path string) (fileStat, error) {
	info, err := os.Stat(path)
	if err != nil {
		return fileStat{}, err
	}
	return fileStat{info.Size(), info.ModTime().UnixNano()}, nil
}

const noteLen = 4*17 + 2 + 8

// String always has noteLen bytes.
func (n note) String() string {
	state := 'c'
	if n.open {
		state = 'o'
	}
	s := fmt.Sprintf("%016x %016x %016x %016x %c ", n.file.size, uint64(n.file.modified), n.sum, n.inode, state)
	return s + fmt.Sprintf("%08x", crc32.ChecksumIEEE([]byte(s)))
}

func (n note) write(f *dbfile.File) error { return f.WriteNote([]byte(n.String() + "\n")) }

// readNote returns the note in the lock's file. One that is missing, or was cut
// short, is none.
func readNote(f *dbfile.File) (n note, ok bool) {
	b := make([]byte, noteLen)
	if err := f.ReadNote(b); err != nil {
		return note{}, false
	}
	var modified uint64
	var state rune
	if _, err := fmt.Sscanf(string(b), "%x %x %x %x %c", &n.file.size, &modified, &n.sum, &n.inode, &state); err != nil {
		return note{}, false
	}
	n.file.modified, n.open = int64(modified), state == 'o'
	return n, n.String() == string(b)
}
