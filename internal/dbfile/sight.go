package dbfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Sight is what can be seen of a database's place by someone who does not claim it. Its methods
// change nothing, except TryDisk.
type Sight struct {
	path string
	info fs.FileInfo // nil: there is no file
}

// See looks at the place that path means. The file need not exist, and need not be a file.
func See(path string) (*Sight, error) {
	path, err := Resolve(path)
	if err != nil {
		return nil, err
	}
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return &Sight{path: path}, nil
	}
	return &Sight{path, info}, err
}

// Path is the resolved path.
func (s *Sight) Path() string { return s.path }

// Info describes the file; nil if there is none.
func (s *Sight) Info() fs.FileInfo { return s.info }

// Regular returns ErrNotFile for something other than a regular file.
func (s *Sight) Regular() error { return checkRegular(s.path) }

// Names is how many names the file has.
func (s *Sight) Names() uint64 {
	_, names, err := identifyLinks(s.path)
	if err != nil {
		return 0
	}
	return names
}

// Inode is the file's inode number, or its index on Windows; 0 if there is no file.
func (s *Sight) Inode() uint64 {
	id, err := identify(s.path)
	if err != nil {
		return 0
	}
	return id.Index
}

// Dangers is that of the File.
func (s *Sight) Dangers() []string { return (&File{path: s.path}).Dangers() }

// Unusable lists what of the place this user cannot read and write.
func (s *Sight) Unusable() []string { return closedTo(s.path) }

// Foreign lists the files beside the database that do not belong to it. The next Open sets them
// aside.
func (s *Sight) Foreign() (names []string, err error) {
	suffixes, err := foreignSides(s.path)
	for _, suffix := range suffixes {
		names = append(names, s.path+suffix)
	}
	return names, err
}

// SideSize is the size of the file beside the database that has this suffix.
func (s *Sight) SideSize(suffix string) (size int64, there bool) {
	size, err := sizeOf(s.path + suffix)
	return size, err == nil
}

// LockState is what is known of a lock.
type LockState int

// What may be known of it.
const (
	NoLock   LockState = iota // there is no lock file: DriftDB has never written the database
	FreeLock                  // nobody has the lock
	HeldLock                  // a process has it
)

// Lock finds out whether a process has the database open for writing, and which one says so. An
// error is why nobody can lock it.
//
// To find out, it takes the lock as one of many readers of it, for some microseconds. A process
// that wants it at this very moment waits so long: see lockSoon.
func (s *Sight) Lock() (state LockState, holder string, err error) {
	name := s.path + lockSuffix
	info, err := os.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return NoLock, "", nil
	}
	if err != nil {
		return NoLock, "", err
	}
	file, err := openRegular(name, os.O_RDONLY)
	if err != nil {
		return NoLock, "", err
	}
	defer file.Close()
	err = peekLock(file)
	if errors.Is(err, errHeld) {
		return HeldLock, heldBy(name), nil
	}
	var trusted []fs.FileInfo
	if s.info != nil {
		trusted = append(trusted, s.info)
	}
	return FreeLock, "", errors.Join(err, checkNames(name, info), checkOwner(name, info, trusted...))
}

// ReadMarker fills b with the beginning of the clean-shutdown marker.
func (s *Sight) ReadMarker(b []byte) error {
	file, err := openRegular(s.path+lockSuffix, os.O_RDONLY)
	if err != nil {
		return err
	}
	_, err = file.ReadAt(b, markerAt)
	return errors.Join(err, file.Close())
}

// Leftovers lists what other runs have left beside the database: working folders that a crash
// left, which the next Open removes; databases that a restore replaced; files that were set
// aside because they did not belong to the database.
func (s *Sight) Leftovers() (works, replaced, aside []string) {
	base := s.path + workSuffix
	if entries, err := os.ReadDir(base); err == nil && checkBase(base) == nil {
		for _, e := range entries {
			if dir := filepath.Join(base, e.Name()); e.IsDir() && isWorkName(e.Name()) && abandoned(dir) {
				works = append(works, dir)
			}
		}
	}
	entries, err := os.ReadDir(filepath.Dir(s.path))
	if err != nil {
		return works, nil, nil
	}
	for _, e := range entries {
		for _, suffix := range sideSuffixes {
			if strings.HasPrefix(e.Name(), filepath.Base(s.path)+suffix+".left-") {
				aside = append(aside, filepath.Join(filepath.Dir(s.path), e.Name()))
			}
		}
	}
	return works, kept(s.path), aside
}

// abandoned reports whether the process that made a working folder has ended.
func abandoned(dir string) bool {
	file, err := openRegular(filepath.Join(dir, workLock), os.O_RDONLY)
	if err != nil {
		return errors.Is(err, fs.ErrNotExist)
	}
	defer file.Close()
	return peekLock(file) == nil
}

// tryName begins the name of the file that TryDisk makes, after that of the database.
const tryName = "-doctor-"

// TryDisk finds out whether a file can be made beside the database, written, and put on disk: it
// makes one of a page, for this user alone, and removes it.
func (s *Sight) TryDisk() (err error) {
	file, err := os.CreateTemp(filepath.Dir(s.path), filepath.Base(s.path)+tryName)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.Remove(file.Name()), syncFolder(filepath.Dir(s.path))) }()
	_, err = file.Write(make([]byte, 4096))
	if err == nil {
		if err = file.Sync(); err != nil {
			err = fmt.Errorf("fsync: %w", err)
		}
	}
	return errors.Join(err, file.Close())
}
