package capture_test

import (
	"bytes"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"testing"
	"time"

	"github.com/driftdb/driftdb-go/internal/apply"
	"github.com/driftdb/driftdb-go/internal/batch"
	"github.com/driftdb/driftdb-go/internal/capture"
	"github.com/driftdb/driftdb-go/internal/changelog"
	"github.com/driftdb/driftdb-go/internal/dbtest"
	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// source is a database with a log and any number of captured connections.
type source struct {
	path string
	hub  *capture.Shared
	opts sqlite.Options
}

func newSource(t testing.TB, limit int) *source {
	t.Helper()
	s := &source{path: filepath.Join(t.TempDir(), "source.db"), opts: sqlite.Options{ForeignKeys: true, BusyTimeout: 2 * time.Second, Synchronous: sqlite.SyncOff}}
	c, err := new(sqlite.Driver).Open(s.path, s.opts)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if _, err := changelog.Init(c, ""); err != nil {
		t.Fatal(err)
	}
	s.hub = capture.NewShared(0, limit, nil)
	return s
}

// watch gives the source a ledger: from here on every connection's commits are
// known, and any other is to be found. A barrier that nobody caused fails
// mustEqual.
func (s *source) watch(t testing.TB) {
	t.Helper()
	anchor := s.plain(t) // or the WAL, and with it the count, would begin anew
	s.opts.Ledger = new(sqlite.Ledger)
	if err := anchor.Exec("BEGIN IMMEDIATE"); err != nil {
		t.Fatal(err)
	}
	if _, _, err := s.opts.Ledger.Start(anchor); err != nil {
		t.Fatal(err)
	}
	if err := anchor.Exec("ROLLBACK"); err != nil {
		t.Fatal(err)
	}
}

// open opens a captured connection.
func (s *source) open() (*capture.Conn, error) { return capture.Open(s.path, s.opts, s.hub) }

func (s *source) pool(t testing.TB) *sql.DB {
	db := sql.OpenDB(capture.NewConnector(s.open, func() error { return nil }, nil, nil))
	t.Cleanup(func() { db.Close() })
	return db
}

// conn is one captured connection by way of database/sql.
func (s *source) conn(t testing.TB) *sql.Conn {
	t.Helper()
	c, err := s.pool(t).Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() }) // or the pool would keep it open
	return c
}

// plain is a connection that nothing captures.
func (s *source) plain(t testing.TB) *sqlite.Conn {
	t.Helper()
	c, err := new(sqlite.Driver).Open(s.path, sqlite.Options{KeepJournal: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// batch is the whole log as one batch.
func (s *source) batch() ([]byte, error) {
	c, err := new(sqlite.Driver).Open(s.path, sqlite.Options{MustExist: true, KeepJournal: true})
	if err != nil {
		return nil, err
	}
	log, err := changelog.Open(c)
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	defer log.Close()
	var b bytes.Buffer
	if last, err := log.Last(); err != nil || last == 0 {
		return nil, err
	}
	start := changelog.Start{Header: batch.Header{NodeID: "n", Epoch: 1, From: 1}}
	_, err = log.Pack(&b, start, 0, changelog.Limits{Bytes: 1 << 40})
	return b.Bytes(), err
}

// replay applies the log to a new database and returns its path.
func (s *source) replay(t testing.TB) (path string, entries int, err error) {
	path, _, entries, err = s.replayDigests(t)
	return path, entries, err
}

// replayDigests also follows the digests.
func (s *source) replayDigests(t testing.TB) (path string, d *digests, entries int, err error) {
	d = newDigests(t)
	path = filepath.Join(t.TempDir(), "restored.db")
	c, err := new(sqlite.Driver).Open(path, sqlite.Options{Synchronous: sqlite.SyncOff})
	if err != nil {
		return path, d, 0, err
	}
	defer c.Close()
	data, err := s.batch()
	if err != nil || data == nil {
		return path, d, 0, err
	}
	r, err := apply.NewReplay(c)
	if err != nil {
		return path, d, 0, err
	}
	defer r.Close()
	in, err := batch.NewReader(bytes.NewReader(data))
	if err != nil {
		return path, d, 0, err
	}
	for {
		rec, err := in.Next()
		if err == io.EOF {
			return path, d, entries, nil
		}
		if err != nil {
			return path, d, entries, err
		}
		if rec.First {
			err = c.Exec("BEGIN")
		}
		if err == nil {
			err = r.Apply(&rec.Entry)
		}
		if err == nil {
			err = d.apply(&rec.Entry)
		}
		if err == nil && rec.Last {
			err = errors.Join(c.Exec("COMMIT"), d.check(t, c))
		}
		if err != nil {
			return path, d, entries, fmt.Errorf("sequence %d: %w", rec.Sequence, err)
		}
		entries++
	}
}

// mustEqual replays the log, compares, and returns the number of entries. A
// barrier is a failure.
func (s *source) mustEqual(t testing.TB) int {
	t.Helper()
	path, d, entries, err := s.replayDigests(t)
	if err != nil {
		data, _ := s.batch()
		t.Fatalf("replay: %v\n%s", err, data[max(0, len(data)-4000):])
	}
	dbtest.Equal(t, s.path, path)
	d.same(t, s.path, path)
	return entries
}
