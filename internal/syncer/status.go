package syncer

import (
	"errors"
	"io/fs"
	"slices"
	"sync/atomic"
	"time"

	"github.com/driftdb/driftdb-go/internal/check"
	"github.com/driftdb/driftdb-go/internal/event"
	"github.com/driftdb/driftdb-go/internal/remote"
)

type status struct {
	running                          atomic.Bool
	acked, confirmed, synced, errors atomic.Int64
	lastSync, lastSnapshot           atomic.Int64 // Unix ms
	lastErr                          atomic.Pointer[error]
	safe                             atomic.Int64 // see state.safe
	barrier                          atomic.Int64 // the last barrier, if no snapshot covers it; else 0
	fenced, mine, behind             atomic.Bool
	mismatches                       atomic.Int64
	faults                           atomic.Pointer[[]string]
}

// Status is a view of the engine for metrics. It touches neither disk nor
// network.
type Status struct {
	Running                bool
	Acked, Confirmed       int64
	Synced, Errors         int64 // of this session
	LastSync, LastSnapshot time.Time
	Err                    error // of the last round; nil if it succeeded
	Fenced, Behind         bool
	Mismatches             int64    // snapshots whose contents differ from the log
	Faults                 []string // of the newest snapshot
}

// Status returns the current status.
func (s *Syncer) Status() Status {
	st := Status{
		Running: s.status.running.Load(),
		Acked:   s.status.acked.Load(), Confirmed: s.status.confirmed.Load(),
		Synced: s.status.synced.Load(), Errors: s.status.errors.Load(),
		LastSync: millis(s.status.lastSync.Load()), LastSnapshot: millis(s.status.lastSnapshot.Load()),
		Fenced: s.status.fenced.Load(), Behind: s.status.behind.Load(), Mismatches: s.status.mismatches.Load(),
	}
	if p := s.status.lastErr.Load(); p != nil {
		st.Err = *p
	}
	if p := s.status.faults.Load(); p != nil {
		st.Faults = slices.Clone(*p)
	}
	return st
}

func millis(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms)
}

func (s *state) event(kind event.Kind, msg string, args ...any) {
	s.cfg.Logger.Info(kind, msg, args...)
}

// report logs a failed round: as a warning if the failure may pass by itself, as an error
// if it needs the user. took is how long the round was.
func (s *Syncer) report(err error, took time.Duration) {
	say := s.cfg.Logger.Warn
	if s.broken != nil || errors.Is(err, fs.ErrPermission) || errors.Is(err, ErrMalformed) {
		say = s.cfg.Logger.Error
	}
	say(failure(err), "sync failed", "error", err, "pending", s.pending(), "took", took)
}

// failure returns the event kind of a failed round. Errors that end syncing come first.
func failure(err error) event.Kind {
	for _, f := range []struct {
		is   error
		kind event.Kind
	}{
		{ErrFenced, event.Fenced},
		{ErrDiverged, event.Diverged},
		{ErrHeld, event.Held},
		{ErrMalformed, event.FileMalformed},
		{remote.ErrCorrupt, event.RepairNeeded},
		{fs.ErrPermission, event.Denied},
	} {
		if errors.Is(err, f.is) {
			return f.kind
		}
	}
	return event.SyncFailed
}

// tellFaults reports the faults of the newest snapshot, if they have changed.
func (s *state) tellFaults(newest remote.Snapshot) {
	list := check.List(newest.Faults)
	told := s.status.faults.Load()
	if told != nil && slices.Equal(*told, list) || told == nil && len(list) == 0 {
		return
	}
	s.status.faults.Store(&list)
	if len(list) == 0 {
		s.event(event.FaultsGone, "the database no longer has faults", "sequence", newest.Sequence)
		return
	}
	s.cfg.Logger.Warn(event.FaultsFound, "the database itself has faults, so its backup and every restore have them too; driftdb status lists them",
		"sequence", newest.Sequence, "faults", list)
}
