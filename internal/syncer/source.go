package syncer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"github.com/driftdb/driftdb-go/internal/changelog"
	"github.com/driftdb/driftdb-go/internal/dbfile"
	"github.com/driftdb/driftdb-go/internal/event"
	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// source is one state of the database, as a snapshot stores it.
type source interface {
	// Conn is a connection that sees the state and changes nothing. It must not be used
	// while the file is read.
	Conn() *sqlite.Conn
	// File opens the state as a self-contained database file. It may be called again, to
	// read the file from the start.
	File(ctx context.Context) (io.ReadCloser, error)
	// Close releases the state.
	Close() error
}

// pin returns a connection that sees the current state of the database until the
// connection is closed, and the sequence of the last change in that state.
func (p *snapshotter) pin() (*sqlite.Conn, int64, error) {
	c, err := p.cfg.Reader()
	if err != nil {
		return nil, 0, err
	}
	c.HoldCheckpoints()
	sequence, err := begin(c)
	if err != nil {
		return nil, 0, errors.Join(err, c.Close())
	}
	return c, sequence, nil
}

// source returns the state that c sees, as a copy beside the database or, if there is no
// room for a copy, live. It takes ownership of c.
func (p *snapshotter) source(ctx context.Context, c *sqlite.Conn) (source, error) {
	v, err := newCopySource(ctx, c, p.cfg.Path)
	if err == nil {
		err = c.Exec("COMMIT")
		c.ReleaseCheckpoints(ctx)
		if err = errors.Join(err, c.Close()); err != nil {
			return nil, errors.Join(err, v.Close())
		}
		return v, nil
	}
	if !noRoom(err) {
		return nil, errors.Join(fmt.Errorf("copy the database for a snapshot: %w", err), c.Close())
	}
	p.cfg.Logger.Warn(event.SnapshotUncopied, "there is no space for a copy of the database, so the snapshot is uploaded as it is read: the WAL grows until it is stored, and a broken upload starts over",
		"folder", filepath.Dir(p.cfg.Path), "error", err)
	return liveSource{c}, nil
}

// begin starts the read transaction that c keeps until it is closed.
func begin(c *sqlite.Conn) (sequence int64, err error) {
	if err := c.Exec("BEGIN"); err != nil {
		return 0, err
	}
	return changelog.Last(c) // the first read fixes the snapshot that SQLite reads
}

// liveSource is the state that a read transaction sees. Its file includes DriftDB's
// tables; a restore drops them.
type liveSource struct{ c *sqlite.Conn }

func (v liveSource) Conn() *sqlite.Conn { return v.c }
func (v liveSource) Close() error       { return v.c.Close() }

func (v liveSource) File(ctx context.Context) (io.ReadCloser, error) { return v.c.Pages(ctx) }

// copySource is a copy of the state, without DriftDB's tables, in a folder of its own.
type copySource struct {
	c    *sqlite.Conn
	work *dbfile.Work
}

// newCopySource copies the state that c sees of the database at path.
func newCopySource(ctx context.Context, c *sqlite.Conn, path string) (v *copySource, err error) {
	if err := checkRoom(c, filepath.Dir(path)); err != nil {
		return nil, err
	}
	work, err := dbfile.NewWork(path)
	if err != nil {
		return nil, err
	}
	v = &copySource{work: work}
	if err = c.Copy(ctx, work.Path(), nil); err == nil {
		err = v.open(c)
	}
	if err != nil {
		return nil, errors.Join(err, v.Close())
	}
	return v, nil
}

// open takes the copy, whose header is that of a WAL database, out of WAL mode, and drops
// DriftDB's tables. It uses no journal, since a copy that a crash leaves is useless
// anyway. The copy's connection gets the same setup (OnConnect) as source.
func (v *copySource) open(source *sqlite.Conn) (err error) {
	v.c, err = sqlite.Open(v.work.Path(), sqlite.Options{
		MustExist: true, KeepJournal: true, Synchronous: sqlite.SyncOff, OnConnect: source.OnConnect(),
	})
	if err != nil {
		return err
	}
	if err := v.c.Exec("PRAGMA journal_mode=DELETE; PRAGMA journal_mode=OFF"); err != nil {
		return err
	}
	if err := changelog.Strip(v.c); err != nil {
		return err
	}
	return v.c.Exec("PRAGMA query_only=ON")
}

func (v *copySource) Conn() *sqlite.Conn { return v.c }

// File opens the copy without SQLite. Closing it drops SQLite's locks on the file, which
// is harmless: no other process uses the copy.
func (v *copySource) File(context.Context) (io.ReadCloser, error) { return os.Open(v.work.Path()) }

func (v *copySource) Close() error {
	var err error
	if v.c != nil {
		err = v.c.Close()
	}
	return errors.Join(err, v.work.Close())
}
