package dbfile

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// SetAside gives the files beside the database at path that do not belong to it
// another name, and returns those names. SQLite takes a -wal and a -journal for
// the database's own, whoever made it: it would write what it holds into the
// database, or delete it. Either would destroy something.
//
// Nobody has the database open.
func SetAside(path string) ([]string, error) {
	foreign, err := foreignSides(path)
	if err != nil {
		return nil, err
	}
	var moved []string
	for _, suffix := range foreign {
		name, err := setAside(path + suffix)
		if err != nil {
			return moved, err
		}
		moved = append(moved, name)
	}
	return moved, nil
}

// SetWALAside takes a -wal away from the database at path that is not its own, and
// the -shm that goes with it. Nobody has the database open.
func SetWALAside(path string) (string, error) {
	name, err := setAside(path + "-wal")
	if err != nil {
		return "", err
	}
	// It says where in that -wal the pages are, and nothing else.
	if err := os.Remove(path + "-shm"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return name, err
	}
	return name, nil
}

// setAside renames a file to a name that is free.
func setAside(file string) (string, error) {
	for at := time.Now().UnixMilli(); ; at++ {
		name := fmt.Sprintf("%s.left-%d", file, at)
		if _, err := os.Lstat(name); err == nil {
			continue
		}
		if err := os.Rename(file, name); err != nil {
			return "", fmt.Errorf("%s does not belong to the database next to it and cannot be set aside (move it away): %w", file, err)
		}
		return name, nil
	}
}

// nameBefore is the name of a file before it was set aside.
func nameBefore(name string) string { return name[:strings.LastIndex(name, ".left-")] }

// foreignSides finds the files beside the database at path that it does not know
// of. An empty one holds nothing and stays. What is not a regular file is nobody's
// that SQLite knows: it would write through a link, and wait for a pipe.
func foreignSides(path string) (foreign []string, err error) {
	there, empty, err := (&File{path: path}).There()
	if err != nil {
		return nil, err
	}
	for _, suffix := range sideSuffixes {
		info, err := os.Lstat(path + suffix)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		known := info.Mode().IsRegular()
		if known && info.Size() > 0 {
			known = there && !empty
			if known {
				if known, err = belongs(path, suffix); err != nil {
					return nil, err
				}
			}
		}
		if known {
			if known, err = ours(path, suffix, info); err != nil {
				return nil, err
			}
		}
		if !known {
			foreign = append(foreign, suffix)
		}
	}
	return foreign, nil
}

// belongs reports whether the database at path may have made the file beside it.
func belongs(path, suffix string) (bool, error) {
	switch suffix {
	case "-wal":
		head, err := sqlite.ReadHeader(path)
		if sqlite.IsCorrupt(err) {
			return true, nil // a checkpoint was cut short: the file needs it all the more
		}
		if sqlite.IsNotDatabase(err) {
			return false, nil
		}
		if err != nil {
			return false, err
		}
		size, err := walPageSize(path + suffix)
		return head.WAL && (size == 0 || size == head.PageSize), err
	case "-journal":
		return isJournal(path + suffix)
	}
	return true, nil // a -shm is created again by the first to come
}

// ours reports whether SQLite may write to a file that it would take for its own: one
// that has no other name, and that no stranger has made. If it may not, and the
// database would lose something without it, somebody has to decide.
func ours(path, suffix string, info fs.FileInfo) (bool, error) {
	var trusted []fs.FileInfo
	if db, err := os.Lstat(path); err == nil {
		trusted = append(trusted, db)
	}
	strange := checkOwner(path+suffix, info, trusted...)
	if strange == nil && checkNames(path+suffix, info) == nil {
		return true, nil
	}
	holds, err := holdsPages(path, suffix)
	if err == nil && holds && strange != nil {
		err = strange
	}
	return holds, err
}

// holdsPages reports whether the database would lose something without the file beside it.
func holdsPages(path, suffix string) (bool, error) {
	switch suffix {
	case "-wal":
		size, err := walPageSize(path + suffix)
		return size != 0, err
	case "-journal":
		head, err := beginning(path+suffix, len(journalMagic))
		return string(head) == journalMagic, err
	}
	return false, nil
}

// walPageSize is the page size that a WAL says, or 0 if it says none: then
// SQLite finds nothing in it.
func walPageSize(file string) (int, error) {
	head, err := beginning(file, 12)
	if err != nil || len(head) < 12 || binary.BigEndian.Uint32(head)&^1 != 0x377f0682 {
		return 0, err
	}
	return int(binary.BigEndian.Uint32(head[8:])), nil
}

// journalMagic is how a rollback journal begins that has something to roll back.
const journalMagic = "\xd9\xd5\x05\xf9\x20\xa1\x63\xd7"

// isJournal reports whether a file is a rollback journal, or one that was ended by
// having its beginning overwritten with zeros.
func isJournal(file string) (bool, error) {
	head, err := beginning(file, len(journalMagic))
	text := string(head)
	return strings.HasPrefix(text, journalMagic) || strings.Trim(text, "\x00") == "", err
}

// beginning reads the first n bytes of a file, or what there is of them. SQLite
// keeps no locks on a -wal or a -journal, so that they may be opened.
func beginning(file string, n int) ([]byte, error) {
	f, err := openRegular(file, os.O_RDONLY)
	if err != nil {
		return nil, err
	}
	head := make([]byte, n)
	n, err = io.ReadFull(f, head)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = nil
	}
	return head[:n], errors.Join(err, f.Close())
}

// LeaveWAL sets the -wal aside that SQLite has left in the place after Check has
// found another database there: it is ours, and that database is not. Our
// connections are closed. Without any such thing it returns "".
func (f *File) LeaveWAL() (string, error) {
	if f.watched == (identities{}) {
		return "", nil
	}
	now, err := identitiesOf(f.path)
	if err != nil || now[0] == f.watched[0] || now[1] != f.watched[1] {
		return "", nil // what cannot be seen is no longer ours to move
	}
	if info, err := os.Lstat(f.path + "-wal"); err != nil || info.Size() == 0 {
		return "", nil
	}
	return setAside(f.path + "-wal")
}
