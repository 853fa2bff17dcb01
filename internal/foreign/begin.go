package foreign

import (
	"errors"

	"github.com/driftdb/driftdb-go/internal/changelog"
	"github.com/driftdb/driftdb-go/internal/dbfile"
	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// Traces are what was found in the file's place before the first connection was opened, as
// left by whichever program wrote there last. The zero value is for a place without a file.
type Traces struct {
	file place
	ours bool           // the file is new and we made it: no other program has written it
	tail sqlite.WALTail // the last commit in the WAL
	gone bool           // the WAL is gone, or what was in it

	left   marker
	marked bool // a marker was found
}

// place is where the traces were left: a File, or a Sight.
type place interface {
	Path() string
	Inode() uint64
	ReadMarker([]byte) error
}

// Look reads the traces. This process must have no connection open to the file. restored means
// that this Open created the file.
func (w *Watch) Look(restored bool) (Traces, error) {
	return look(w.cfg.File, restored || w.cfg.Private)
}

// See reads the traces of a file whose place this process has not taken. It must have no
// connection open to the file.
func See(s *dbfile.Sight) (Traces, error) { return look(s, false) }

func look(at place, ours bool) (Traces, error) {
	tail, err := sqlite.ReadWAL(at.Path())
	t := Traces{file: at, ours: ours, tail: tail}
	t.left, t.marked = readMarker(at)
	if err == nil && !t.InWAL() {
		t.gone, err = sqlite.WALGone(at.Path())
	}
	return t, err
}

// Marked reports whether the traces have a clean-shutdown marker: whether DriftDB has ever
// written to the file in this place.
func (t Traces) Marked() bool { return t.marked }

// LeftOpen reports whether whoever wrote last has not closed the file: it still has it open, or
// was killed.
func (t Traces) LeftOpen() bool { return t.marked && t.left.open }

// Moved reports whether another file was in the place when the marker was written.
func (t Traces) Moved() bool {
	return t.marked && t.left.inode != 0 && t.left.inode != t.file.Inode()
}

// InWAL reports whether there are commits in the WAL.
func (t Traces) InWAL() bool { return len(t.tail.Pages) > 0 }

// LostWAL reports whether the -wal that we left beside the file, with more in it than the file
// has, has been removed.
func (t Traces) LostWAL() bool {
	now, err := stat(t.file.Path())
	return t.left.open && err == nil && now == t.left.file && t.gone
}

// AsLeft reports whether, when the traces were read, the file was as we had left it. c is a
// connection to it.
func (t Traces) AsLeft(c *sqlite.Conn) (bool, error) {
	if t.ours {
		return true, nil
	}
	if t.file == nil {
		return false, nil // there was no file
	}
	if t.InWAL() {
		if t.marked && t.left.sum == t.tail.Sum {
			return true, nil
		}
		return wrote(c, t.tail.Pages) // after a crash of ours
	}
	now, err := stat(t.file.Path())
	return t.marked && now == t.left.file, err
}

// Begin makes the present state of the file the known one: from here on every commit of ours
// must be on a connection with the ledger. If another program may have written since we left
// the file, Begin adds a barrier, unless proven says that the contents are ours all the same.
// The barrier is committed together with adopt's work, the first change to the file: if it
// followed later, a crash in between could hide the foreign write.
func (w *Watch) Begin(c *sqlite.Conn, found Traces, proven bool, adopt func(*sqlite.Conn) error) (err error) {
	if err := c.Exec("BEGIN IMMEDIATE"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Rollback()) }()
	same, err := w.unchanged(c, found)
	if err != nil {
		return err
	}
	same = same || proven
	if err := adopt(c); err != nil {
		return err
	}
	if !same {
		if err := changelog.Barrier(c, changedWhileClosed); err != nil {
			return err
		}
	}
	if err := c.Exec("COMMIT"); err != nil {
		return err
	}
	if !same {
		w.Committed(changedWhileClosed)
	}
	return nil
}

// unchanged starts the ledger, and reports whether the file is still as we left it. c holds
// the write lock.
func (w *Watch) unchanged(c *sqlite.Conn, found Traces) (bool, error) {
	sum, inWAL, err := w.ledger.Start(c)
	if err != nil {
		return false, err
	}
	known, err := changelog.Exists(c)
	if err != nil || !known {
		return err == nil, err // the file is new to us: adopted, or created
	}
	if !found.ours && (inWAL != found.InWAL() || inWAL && sum != found.tail.Sum) {
		return false, nil // another program wrote while we were looking
	}
	w.marked = found.left.file
	return found.AsLeft(c)
}
