package foreign

import (
	"errors"
	"fmt"
	"hash/crc32"
	"os"

	"github.com/driftdb/driftdb-go/internal/capture"
	"github.com/driftdb/driftdb-go/internal/dbfile"
	"github.com/driftdb/driftdb-go/internal/event"
	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// marker is the clean-shutdown marker: how we left a file. It is kept in FILE-lock, and stays
// until the file is left again; after a crash in between, the WAL is evidence.
type marker struct {
	file fileStat
	sum  uint64 // of the last commit in the WAL, which stays if another program has the file open

	inode uint64 // the file's inode, 0 if unknown; see dbfile.File
	open  bool   // the WAL had more than the file
}

// fileStat is part of a file's metadata.
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

const markerLen = 4*17 + 2 + 8

// String always has markerLen bytes.
func (m marker) String() string {
	state := 'c'
	if m.open {
		state = 'o'
	}
	s := fmt.Sprintf("%016x %016x %016x %016x %c ", m.file.size, uint64(m.file.modified), m.sum, m.inode, state)
	return s + fmt.Sprintf("%08x", crc32.ChecksumIEEE([]byte(s)))
}

func (m marker) write(f *dbfile.File) error { return f.WriteMarker([]byte(m.String() + "\n")) }

// readMarker returns the marker in the lock's file; ok is false if it is missing or truncated.
func readMarker(f place) (m marker, ok bool) {
	b := make([]byte, markerLen)
	if err := f.ReadMarker(b); err != nil {
		return marker{}, false
	}
	var modified uint64
	var state rune
	if _, err := fmt.Sscanf(string(b), "%x %x %x %x %c", &m.file.size, &modified, &m.sum, &m.inode, &state); err != nil {
		return marker{}, false
	}
	m.file.modified, m.open = int64(modified), state == 'o'
	return m, m.String() == string(b)
}

// MarkClean writes the marker of a file that we have created and that has not been opened.
func MarkClean(f *dbfile.File) error {
	now, err := stat(f.Path())
	if err != nil {
		return err
	}
	return marker{file: now}.write(f)
}

// MarkOpen records which file was opened. After a crash, the WAL shows what was committed
// since, if it belongs to this file. c is the writer, and the caller holds it.
func (w *Watch) MarkOpen(c *capture.Conn) error {
	if w.cfg.Private {
		return nil
	}
	return w.mark(c, true)
}

// Leave copies the WAL into the file and writes the marker, unless there is a foreign write to
// notice. It is called when only c, the writer, is still open. An error means that the disk
// may not have what was committed last.
func (w *Watch) Leave(c *capture.Conn) error {
	if w.lost(w.cfg.File.CheckSize(true)) != nil {
		w.tell()
		return nil
	}
	err := w.markClean(c)
	if err == nil || sqlite.IsBusy(err) {
		return nil
	}
	if errors.Is(err, errNotHome) {
		return err
	}
	w.cfg.Log.Warn(event.MarkerNotWritten, "the clean-shutdown marker could not be written; the next Open takes a snapshot", "error", err)
	return nil
}

var errNotHome = errors.New("the WAL could not be copied into the database: the disk may not have what was committed last")

func (w *Watch) markClean(c *capture.Conn) error {
	if w.cfg.Private || w.CheckFile() != nil {
		return nil
	}
	// Closing would checkpoint too, but tell no errors, and change the file after we have
	// looked at it. This checkpoint waits for no one: a reader that remains finishes it.
	err := mend(c)
	if err == nil {
		err = c.Exec("PRAGMA wal_checkpoint(PASSIVE)")
	}
	switch {
	case sqlite.IsBusy(err):
		return err
	case err != nil:
		return fmt.Errorf("%w: %w", errNotHome, err)
	}
	return w.mark(c, false)
}

// mend puts back what a failed sync has left out of the WAL. After power loss the WAL may
// still be there, with that hole, although all of it had been copied: recovery would then put
// the pages before the hole over the newer ones in the file.
func mend(c *capture.Conn) error {
	if err := c.Exec("BEGIN IMMEDIATE"); err != nil {
		return err
	}
	return errors.Join(c.MendWAL(), c.Rollback())
}

// mark writes the marker: the state of the file, and which file it is.
func (w *Watch) mark(c *capture.Conn, open bool) error {
	if err := c.Exec("BEGIN IMMEDIATE"); err != nil {
		return err
	}
	_, notice := c.Missed()
	file, err := stat(w.cfg.File.Path())
	if err == nil && notice == 0 {
		w.marked = file
		err = marker{file, c.LastSum(), w.cfg.File.Inode(), open}.write(w.cfg.File)
	}
	return errors.Join(err, c.Rollback())
}

// markCut writes the marker when a checkpoint has truncated the WAL: if we were killed then,
// the WAL would hold no commit of ours as evidence. The caller holds c, the writer.
func (w *Watch) markCut(c *capture.Conn) error {
	if size, err := w.cfg.File.WALSize(); err != nil || size > 0 {
		return nil
	}
	now, err := stat(w.cfg.File.Path())
	if err != nil || now == w.marked {
		return err
	}
	return w.markClean(c)
}
