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

// marker is the clean-shutdown marker: how we left a file. It is kept in FILE-lock, and
// stays until the file is left again; a crash in between is told by the WAL.
type marker struct {
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

// readMarker returns the marker in the lock's file. One that is missing, or was cut
// short, is none.
func readMarker(f *dbfile.File) (m marker, ok bool) {
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

// MarkClean writes the marker of a file that we have made, and that nobody has opened.
func MarkClean(f *dbfile.File) error {
	now, err := stat(f.Path())
	if err != nil {
		return err
	}
	return marker{file: now}.write(f)
}

// MarkOpen writes down which file was opened. A crash may follow: then the WAL tells of
// what was committed since, if it is the one that belongs to this file. c is the writer,
// and the caller has it.
func (w *Watch) MarkOpen(c *capture.Conn) error {
	if w.cfg.Private {
		return nil
	}
	return w.mark(c, true)
}

// Leave writes the marker, unless there is something to notice. It is called when only c,
// the writer, is still open.
func (w *Watch) Leave(c *capture.Conn) {
	if w.lost(w.cfg.File.CheckSize(true)) != nil {
		w.tell()
		return
	}
	if err := w.markClean(c); err != nil && !sqlite.IsBusy(err) {
		w.cfg.Log.Warn(event.MarkerNotWritten, "the clean-shutdown marker could not be written; the next Open takes a snapshot", "error", err)
	}
}

func (w *Watch) markClean(c *capture.Conn) error {
	if w.cfg.Private || w.CheckFile() != nil {
		return nil
	}
	// Closing would do it, and change the file after we have looked at it. It
	// waits for nobody: whoever still reads finishes it.
	if err := c.Exec("PRAGMA wal_checkpoint(PASSIVE)"); err != nil {
		return err
	}
	return w.mark(c, false)
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

// markCut writes the marker when a checkpoint has cut the WAL. Were we killed then, there
// would be no commit of ours in the WAL to tell by. The caller has c, the writer.
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
