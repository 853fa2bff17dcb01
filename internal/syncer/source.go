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

// source is one state of the database: what a snapshot stores.
type source interface {
	// Conn is a connection that sees the state and changes nothing. Nobody uses
	// it while the file is read.
	Conn() *sqlite.Conn
	// File opens the state as a database file that stands on its own. It may be
	// opened again, to be read from the start.
	File(ctx context.Context) (io.ReadCloser, error)
	// Close ends the view.
	Close() error
}

// pin returns a connection that sees the database as it is now until it is closed,
// and the sequence of the last change in it.
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

// source returns the state that c sees: as a copy beside the database, or, if that has
// no room, live. It takes c over.
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

// begin opens the view that c has until it is closed.
func begin(c *sqlite.Conn) (sequence int64, err error) {
	if err := c.Exec("BEGIN"); err != nil {
		return 0, err
	}
	return changelog.Last(c) // the first read is what fixes the state
}

// liveSource is the state that a read transaction sees. Its file has our tables in
// it; a restore drops them.
type liveSource struct{ c *sqlite.Conn }

func (v liveSource) Conn() *sqlite.Conn { return v.c }
func (v liveSource) Close() error       { return v.c.Close() }

func (v liveSource) File(ctx context.Context) (io.ReadCloser, error) { return v.c.Pages(ctx) }

// copySource is a copy of the state, without our tables, in a folder of its own.
type copySource struct {
	c    *sqlite.Conn
	work *dbfile.Work
}

// newCopySource copies what c sees of the database at path.
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

// open makes the copy of a WAL database, which says that it is one, a file on
// its own, and takes our tables out. Nobody needs what a crash would leave of
// it. The copy's connection has what source has.
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

// File opens the copy beside SQLite, whose locks on it end when that is closed:
// nobody else knows of the file, so they guard nothing.
func (v *copySource) File(context.Context) (io.ReadCloser, error) { return os.Open(v.work.Path()) }

func (v *copySource) Close() error {
	var err error
	if v.c != nil {
		err = v.c.Close()
	}
	return errors.Join(err, v.work.Close())
}
