package syncer

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"slices"
	"time"

	"github.com/driftdb/driftdb-go/internal/remote"
)

// Status is a view of the engine for metrics. It touches neither disk nor
// network.
type Status struct {
	Running                bool
	Acked, Confirmed       int64
	Synced, Errors         int64 // of this session
	LastSync, LastSnapshot time.Time
	Err                    error // of the last round; nil when it went well
	Fenced, Behind         bool
	Mismatches             int64    // snapshots whose contents are not what the log says
	Faults                 []string // of the newest snapshot
}

// Status says how things are.
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

func (s *Syncer) event(msg string, args ...any) {
	s.cfg.Logger.Info(msg, append([]any{"scope", "sync"}, args...)...)
}

// report logs a failed round: what will pass is a warning, what will not
// without somebody's help is an error.
func (s *Syncer) report(err error) {
	level := slog.LevelWarn
	if s.broken != nil || errors.Is(err, fs.ErrPermission) || errors.Is(err, ErrMalformed) {
		level = slog.LevelError
	}
	s.cfg.Logger.Log(context.Background(), level, "sync failed", "scope", "sync", "error", err, "pending", s.pending())
}

// tellRefused tells of objects that stand where the history would go on, and are no
// part of it. A few are enough to know that somebody else writes into the folder.
func (s *Syncer) tellRefused(refused []remote.Refusal) {
	const most = 3
	for _, r := range refused[:min(len(refused), most)] {
		s.cfg.Logger.Warn("the bucket has an object that is named like a batch and is no part of the history; it is passed over",
			"scope", "sync", "key", r.Key, "error", r.Why)
	}
	if more := len(refused) - most; more > 0 {
		s.cfg.Logger.Warn("there are more objects that are named like batches and are no part of the history", "scope", "sync", "count", more)
	}
}
