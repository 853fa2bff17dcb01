// Package foreign knows whether anybody else has written the database file.
//
// What another program writes to the file cannot be logged, but must be noticed: a
// barrier says so in the log, and a snapshot follows. While the database is open, the
// ledger knows of every commit that is ours; the next commit finds one that is not, or,
// when nobody writes, the Watch's goroutine does. While it is closed, the clean-shutdown
// marker beside the file says how we left it, and after a crash the WAL does.
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

// The reasons of barriers.
const (
	changedWhileClosed = "the file was changed while DriftDB had it closed, or cannot be shown not to have been"
	changedSchema      = "another program changed the schema"
)

// Config is what a Watch is made of.
type Config struct {
	File      *dbfile.File
	Private   bool // nobody else can find the file, and it is not kept
	Snapshots bool // there is a bucket, which gets a snapshot after a barrier
	Log       event.Log
	Public    func(error) error // makes an error one that users know
}

// Watch watches one database file.
type Watch struct {
	cfg    Config
	ledger sqlite.Ledger // of the commits that are ours
	marked fileStat      // in the marker; belongs to whoever has the writer
	hub    *capture.Shared

	wake   chan struct{} // capacity 1: there is something to tell
	done   chan struct{} // nil: it was not started
	cancel context.CancelFunc
	rounds Rounds // the goroutine's

	barriers atomic.Int64 // that were committed
	mu       sync.Mutex
	reasons  []string // of those that nobody was told of yet; the same one again counts once
	gone     error    // the file is lost, and nobody was told yet
}

// New returns the watch of a file whose place was taken.
func New(cfg Config) *Watch { return &Watch{cfg: cfg, wake: make(chan struct{}, 1)} }

// Ledger is for the connections of this database that write: see Begin.
func (w *Watch) Ledger() *sqlite.Ledger { return &w.ledger }

// Attach watches the file on behalf of an open database, whose writer is c: from now on a
// commit that finds another file in its place is refused. What has happened since Begin is
// noticed.
func (w *Watch) Attach(hub *capture.Shared, c *capture.Conn) error {
	w.hub = hub
	hub.Watch(w.CheckFile)
	if err := w.cfg.File.Watch(); err != nil {
		return err
	}
	return c.Barrier(changedSchema, true)
}

// Notice commits a barrier if somebody else has committed. c is the writer, and the
// caller has it. It costs next to nothing when nobody has.
func (w *Watch) Notice(c *capture.Conn) error {
	if c.Unmissed() || w.hub.Refused() != nil {
		return nil
	}
	return c.Barrier(changedSchema, true)
}

// CheckFile reports whether the database's files are still those that were opened.
// If they are not, whatever is committed goes into files that nobody will find
// again: from then on writes are refused. What the log has is sent all the same,
// but no snapshot is taken. It may be called within a commit.
func (w *Watch) CheckFile() error { return w.lost(w.cfg.File.Check()) }

// lost refuses writes if err says that the file is not what it was.
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

// SetWALAside takes our -wal away from a database that is not ours: it was put in
// the place of ours, and SQLite would write what the -wal holds into it. All
// connections are closed.
func (w *Watch) SetWALAside() error {
	name, err := w.cfg.File.LeaveWAL()
	if name != "" {
		w.cfg.Log.Warn(event.FilesSetAside, "another file has taken the database's place; the changes still in the old -wal were set aside", "file", name)
	}
	return err
}

// Rounds is how the file is looked at, and what else is looked after on the goroutine that
// does.
type Rounds struct {
	Every  time.Duration
	IfFree func(func(*capture.Conn) error) error // runs a function with the writer, if nobody uses that
	Closed func() bool                           // what goes wrong from now on is not news

	Do   func(context.Context) // after each look that found the file in its place
	Tell func()                // before whatever the Watch tells, at least that often, and at the end
}

// Start starts looking now and then. It is called once, after Attach.
func (w *Watch) Start(rounds Rounds) {
	ctx, cancel := context.WithCancel(context.Background())
	w.done, w.cancel, w.rounds = make(chan struct{}), cancel, rounds
	go func() {
		defer close(w.done)
		w.run(ctx)
	}()
}

// Stop ends what Start has started, and waits for it.
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

// look looks, unless somebody uses the writer, whose commit looks itself. What
// went wrong is told when the writer is free again: OnEvent may want to write.
func (w *Watch) look() {
	err := w.rounds.IfFree(func(c *capture.Conn) error { return errors.Join(w.Notice(c), w.markCut(c)) })
	if err != nil && !sqlite.IsBusy(err) && !w.rounds.Closed() {
		w.cfg.Log.Warn(event.ForeignCheckFailed, "the check for changes by other programs failed", "error", err)
	}
}

// Barriers is how many barriers were committed.
func (w *Watch) Barriers() int64 { return w.barriers.Load() }

// Count counts a barrier of which its maker tells.
func (w *Watch) Count() { w.barriers.Add(1) }

// Committed counts a barrier that was committed, and has it told; "" is none. It is called
// within the commit, so the goroutine does the telling.
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

// tell logs what nobody was told of yet.
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
