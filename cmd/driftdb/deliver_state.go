package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"time"

	"github.com/driftdb/driftdb-go"
)

// cursor is the last transaction that was handed over, as a state file has it.
type cursor struct {
	Database string    `json:"database"`
	Tx       int64     `json:"tx"`
	Sequence int64     `json:"sequence"` // of its last change
	Time     time.Time `json:"time"`
}

func cursorOf(last driftdb.Change) cursor {
	return cursor{Tx: last.Tx, Sequence: last.Sequence, Time: last.Time.UTC()}
}

// check returns an error if c, which is what the history has there, is not of the
// transaction that was handed over. A barrier may have replaced that one.
func (k cursor) check(c *driftdb.Change) error {
	is := "the history ends before it"
	switch {
	case c == nil:
	case c.Tx == k.Tx && c.Time.Equal(k.Time), c.Operation == driftdb.OperationBarrier:
		return nil
	default:
		is = "here it is of " + stamp(c.Time)
	}
	return hinted{fmt.Errorf("%w: change %d, of %s, was handed over, and %s", driftdb.ErrRolledBack, k.Sequence, stamp(k.Time), is),
		"the database has another history now; tell the receiver, and begin with a new --state FILE"}
}

// stateFile keeps a cursor. It is replaced as a whole, so it is always one state or the
// next.
type stateFile struct {
	path  string // "": nothing is kept
	at    cursor
	found bool  // the file was there
	saved int64 // the sequence in the file
}

// openState reads a state file, if it is there.
func openState(path, database string) (*stateFile, error) {
	s := &stateFile{path: path, at: cursor{Database: database}}
	if path == "" {
		return s, nil
	}
	if real, err := filepath.EvalSymlinks(path); err == nil {
		s.path = real // the link stays
	}
	text, err := os.ReadFile(s.path)
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err != nil {
		return nil, err
	}
	var k cursor
	switch err := json.Unmarshal(text, &k); {
	case err != nil || k.Database == "" || k.Sequence < 1 || k.Tx > k.Sequence:
		return nil, fmt.Errorf("%s is not a file that --state has written", path)
	case k.Database != database:
		return nil, fmt.Errorf("%s is the state of the database %q, not of %q", path, k.Database, database)
	}
	s.at, s.found, s.saved = k, true, k.Sequence
	return s, nil
}

// saveAfter is after how many changes that were not selected the state is kept, so that
// they are not read again.
const saveAfter = 1000

// reach records how far it has come. Without anything handed over it may wait with that.
func (s *stateFile) reach(k cursor, handedOver bool) error {
	k.Database = s.at.Database
	s.at = k
	if !handedOver && k.Sequence-s.saved < saveAfter {
		return nil
	}
	return s.save()
}

// save writes the state to disk.
func (s *stateFile) save() (err error) {
	if s.path == "" {
		return nil
	}
	text, err := json.Marshal(s.at)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(s.path), ".driftdb-state-*")
	if err != nil {
		return fmt.Errorf("keep the state: %w", err)
	}
	_, err = f.Write(append(text, '\n'))
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = os.Rename(f.Name(), s.path)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("keep the state: %w", err), os.Remove(f.Name()))
	}
	s.saved, s.found = s.at.Sequence, true
	return syncFolder(filepath.Dir(s.path))
}

// syncFolder makes a rename survive a power loss. Windows has no such call, and needs none.
func syncFolder(path string) error {
	if runtime.GOOS == "windows" {
		return nil
	}
	d, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
