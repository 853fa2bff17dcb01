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

// SetAside renames the files beside the database at path that do not belong to it, and returns
// the new names. SQLite takes any -wal or -journal for the database's own: it would write the
// contents into the database, or delete the file. Either would destroy something.
//
// No process has the database open.
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

// SetWALAside renames a -wal that does not belong to the database at path, and removes the
// -shm that goes with it. No process has the database open.
func SetWALAside(path string) (string, error) {
	name, err := setAside(path + "-wal")
	if err != nil {
		return "", err
	}
	// The -shm holds only where in that -wal the pages are.
	if err := os.Remove(path + "-shm"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return name, err
	}
	return name, nil
}

// setAside renames a file to a free name.
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

// nameBefore is the name that a file had before it was set aside.
func nameBefore(name string) string { return name[:strings.LastIndex(name, ".left-")] }

// foreignSides finds the files beside the database at path that do not belong to it. An empty
// file holds nothing and stays. Something other than a regular file is never SQLite's: SQLite
// would write through a link, and block on a pipe.
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

// belongs reports whether the database at path may have created the file beside it.
func belongs(path, suffix string) (bool, error) {
	switch suffix {
	case "-wal":
		head, err := sqlite.ReadHeader(path)
		if sqlite.IsCorrupt(err) {
			return true, nil // an interrupted checkpoint: the file needs its WAL all the more
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
	return true, nil // the first connection creates a -shm again
}

// ours reports whether SQLite may write to a file that it would take for its own: one with no
// other name, and not created by another user. A file that holds pages of the database stays
// its own despite a second name; if another user created it, ours returns an error, because
// the user must decide.
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

// holdsPages reports whether the database would lose data without the file beside it.
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

// walPageSize is the page size in a WAL's header, or 0 if there is none: SQLite then finds
// nothing in the WAL.
func walPageSize(file string) (int, error) {
	head, err := beginning(file, 12)
	if err != nil || len(head) < 12 || binary.BigEndian.Uint32(head)&^1 != 0x377f0682 {
		return 0, err
	}
	return int(binary.BigEndian.Uint32(head[8:])), nil
}

// journalMagic begins a rollback journal that has something to roll back.
const journalMagic = "\xd9\xd5\x05\xf9\x20\xa1\x63\xd7"

// isJournal reports whether a file is a rollback journal, or a finished one whose beginning
// was overwritten with zeros.
func isJournal(file string) (bool, error) {
	head, err := beginning(file, len(journalMagic))
	text := string(head)
	return strings.HasPrefix(text, journalMagic) || strings.Trim(text, "\x00") == "", err
}

// beginning reads the first n bytes of a file, or fewer if it is shorter. SQLite keeps no
// locks on a -wal or a -journal, so it is safe to open them.
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

// LeaveWAL sets aside the -wal that SQLite has left in the place after Check has found another
// database there: the -wal is ours, and that database is not. Our connections are closed. It
// returns "" if there is no such -wal.
func (f *File) LeaveWAL() (string, error) {
	if f.watched == (identities{}) {
		return "", nil
	}
	now, err := identitiesOf(f.path)
	if err != nil || now[0] == f.watched[0] || now[1] != f.watched[1] {
		return "", nil // a file that cannot be seen is no longer ours to move
	}
	if info, err := os.Lstat(f.path + "-wal"); err != nil || info.Size() == 0 {
		return "", nil
	}
	return setAside(f.path + "-wal")
}
