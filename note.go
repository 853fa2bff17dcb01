package driftdb

import (
	"errors"
	"fmt"
	"hash/crc32"
	"os"
)

// note says how we left a file. It is kept in FILE-lock behind the first byte,
// which is the one that is locked: on Windows not even we can write that one
// through a second handle. It stays until the file is left again; a crash in
// between is told by the WAL.
type note struct {
	file fileStat
	sum  uint64 // of the last commit in the WAL, which stays when another program has the file open
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

const noteLen = 3*17 + 8

// String always has noteLen bytes.
func (n note) String() string {
	s := fmt.Sprintf("%016x %016x %016x ", n.file.size, uint64(n.file.modified), n.sum)
	return s + fmt.Sprintf("%08x", crc32.ChecksumIEEE([]byte(s)))
}

func (n note) write(path string) error {
	f, err := os.OpenFile(path+"-lock", os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteAt([]byte(n.String()+"\n"), 1)
	return errors.Join(err, f.Close())
}

// readNote returns the note beside the file at path. One that is missing, or
// was cut short, is none.
func readNote(path string) (n note, ok bool) {
	f, err := os.Open(path + "-lock")
	if err != nil {
		return note{}, false
	}
	defer f.Close()
	b := make([]byte, noteLen)
	if _, err := f.ReadAt(b, 1); err != nil {
		return note{}, false
	}
	var modified uint64
	if _, err := fmt.Sscanf(string(b), "%x %x %x", &n.file.size, &modified, &n.sum); err != nil {
		return note{}, false
	}
	n.file.modified = int64(modified)
	return n, n.String() == string(b)
}
