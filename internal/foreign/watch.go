// Package foreign detects whether another program has written the database file.
//
// What another program writes to the file cannot be logged, but must be noticed: a barrier
// records it in the log, and a snapshot follows. While the database is open, the ledger knows
// every commit of ours; a foreign commit is found by our next commit or, when nothing is being
// written, by the Watch's goroutine. While the database is closed, the clean-shutdown marker
// beside the file says how we left it, and after a crash the WAL does.
package foreign

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/driftdb/driftdb-go/internal/capture"
	"github.com/driftdb/driftdb-go/internal/dbfile"
	"github.com/driftdb/driftdb-go/internal/event"
	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// These are reasons of barriers.
const (
	changedWhileClosed = "the file was changed while DriftDB had it closed, or cannot be shown not to have been"
	changedSchema      = "another program changed the schema"
)

// Config configures a Watch.
type Config struct {
	File      *dbfile.File
	Private   bool // no other program can find the file, and it is not kept
	Snapshots bool // there is a bucket, which gets a snapshot after each barrier
	Log       event.Log
	Public    func(error) error // turns an error into one that users know
}

// Watch watches one database file.
type Watch struct {
	cfg    Config
	ledger sqlite.Ledger // of our commits
	marked fileStat      // the file as recorded in the marker; guarded by the writer
	hub    *capture.Shared

	wake   chan struct{} // capacity 1: there is something to report
	done   chan struct{} // nil: not started
	cancel context.CancelFunc
	rounds Rounds // for the goroutine

	barriers atomic.Int64 // number of committed barriers
	mu       sync.Mutex
	reasons  []string // of barriers not reported yet; consecutive equal ones count once
	gone     error    // the file is lost, and that is not reported yet
}

// New returns the watch of a file whose place is taken.
func New(cfg Config) *Watch { return &Watch{cfg: cfg, wake: make(chan struct{}, 1)} }

// Ledger returns the ledger for the connections that write this database; see Begin.
func (w *Watch) Ledger() *sqlite.Ledger { return &w.ledger }

// Attach watches the file on behalf of an open database, whose writer is c. From now on a
// commit that finds another file in its place is refused. Foreign writes since Begin are
// noticed.
func (w *Watch) Attach(hub *capture.Shared, c *capture.Conn) error {
	w.hub = hub
	hub.Watch(w.CheckFile)
	if err := w.cfg.File.Watch(); err != nil {
		return err
	}
	return c.Barrier(changedSchema, true)
}

// Notice commits a barrier if another program has committed. c is the writer, and the caller
// holds it. It costs next to nothing if there was no such commit.
func (w *Watch) Notice(c *capture.Conn) error {
	if c.Unmissed() || w.hub.Refused() != nil {
		return nil
	}
	return c.Barrier(changedSchema, true)
}

// CheckFile returns an error if the database's files are no longer the ones that were opened.
// Anything committed then goes into files that no one will find again, so from then on writes
// are refused. The log is still uploaded, but no snapshot is taken. CheckFile may be called
// within a commit.
func (w *Watch) CheckFile() error { return w.lost(w.cfg.File.Check()) }

// lost refuses further writes if err says that the file is not what it was.
func (w *Watch) lost(err error) error {
	if err == nil || !errors.Is(err, dbfile.ErrReplaced) {
		return err
	}
	err = w.cfg.Public(fmt.Errorf("%w. Writes are refused from now on. Everything committed before is in the old file, if it still exists, and is uploaded to the bucket, if there is one. Close the database, put the right file back, and open it again", err))
	if w.hub.Refused() == nil {
		w.hub.Refuse(err)
		w.mu.Lock()
		w.gone = err
		w.mu.Unlock()
		w.rouse()
	}
	return err
}

// SetWALAside renames our -wal if another database was put in the place of ours: SQLite would
// write the -wal's contents into it. All connections are closed.
func (w *Watch) SetWALAside() error {
	name, err := w.cfg.File.LeaveWAL()
	if name != "" {
		w.cfg.Log.Warn(event.FilesSetAside, "another file has taken the database's place; the changes still in the old -wal were set aside", "file", name)
	}
	return err
}

// Rounds configures how often the file is checked, and what else that goroutine does.
type Rounds struct {
	Every  time.Duration
	IfFree func(func(*capture.Conn) error) error // runs a function with the writer, if it is free
	Closed func() bool                           // reports whether failures are no longer worth reporting

	Do   func(context.Context) // called after each check that found the file in place
	Tell func()                // called before the Watch reports, at least as often, and at the end
}

// Start starts the periodic checks. It is called once, after Attach.
func (w *Watch) Start(rounds Rounds) {
	ctx, cancel := context.WithCancel(context.Background())
	w.done, w.cancel, w.rounds = make(chan struct{}), cancel, rounds
	go func() {
		defer close(w.done)
		w.run(ctx)
	}()
}

// Stop stops what Start started, and waits for it.
func (w *Watch) Stop() {
	if w.done != nil {
		w.cancel()
		<-w.done
	}
}

func (w *Watch) run(ctx context.Context) {
	ticker := time.NewTicker(w.rounds.Every)
	defer ticker.Stop()
	defer w.tellAll()
	for {
		w.tellAll()
		select {
		case <-ctx.Done():
			return
		case <-w.wake:
		case <-ticker.C:
			if w.CheckFile() == nil && w.lost(w.cfg.File.CheckSize(false)) == nil {
				w.look()
				w.rounds.Do(ctx)
			}
		}
	}
}

// look checks for foreign commits, unless the writer is in use: its commit checks anyway. A
// failure is reported once the writer is free again, because OnEvent may want to write.
func (w *Watch) look() {
	err := w.rounds.IfFree(func(c *capture.Conn) error { return errors.Join(w.Notice(c), w.markCut(c)) })
	if err != nil && !sqlite.IsBusy(err) && !w.rounds.Closed() {
		w.cfg.Log.Warn(event.ForeignCheckFailed, "the check for changes by other programs failed", "error", err)
	}
}

// Barriers is the number of committed barriers.
func (w *Watch) Barriers() int64 { return w.barriers.Load() }

// Count counts a barrier that its maker reports.
func (w *Watch) Count() { w.barriers.Add(1) }

// Committed counts a committed barrier and has it reported; "" means none. It is called within
// the commit, so the goroutine does the reporting.
func (w *Watch) Committed(reason string) {
	if reason == "" {
		return
	}
	w.Count()
	w.mu.Lock()
	if n := len(w.reasons); n == 0 || w.reasons[n-1] != reason {
		w.reasons = append(w.reasons, reason)
	}
	w.mu.Unlock()
	w.rouse()
}

func (w *Watch) rouse() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

func (w *Watch) tellAll() {
	w.rounds.Tell()
	w.tell()
}

// tell logs what has not been reported yet.
func (w *Watch) tell() {
	w.mu.Lock()
	reasons, gone := w.reasons, w.gone
	w.reasons, w.gone = nil, nil
	w.mu.Unlock()
	if gone != nil {
		w.cfg.Log.Error(event.FileReplaced, "the database file is not the one that was opened", "path", w.cfg.File.Path(), "error", gone)
	}
	msg := "something happened that the log cannot describe"
	if w.cfg.Snapshots {
		msg += "; a snapshot follows"
	}
	for _, reason := range reasons {
		kind := event.Barrier
		switch reason {
		case sqlite.Bypassed, changedSchema, changedWhileClosed:
			kind = event.ForeignWrite
		}
		w.cfg.Log.Warn(kind, msg, "reason", reason)
	}
}
