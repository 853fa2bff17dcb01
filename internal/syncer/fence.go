package syncer

import (
	"context"
	"errors"
	"fmt"

	"github.com/driftdb/driftdb-go/internal/changelog"
	"github.com/driftdb/driftdb-go/internal/remote"
)

// fenced ends this session's part in the history: somebody else writes it.
func (s *Syncer) fenced(cause error) error {
	return s.stop(fmt.Errorf("%w: %w. What this session had stored by then and its rest are kept in the bucket as the branch %s, if that can be reached, and all of it is in this file",
		ErrFenced, cause, remote.Branch{NodeID: s.node, Epoch: s.epoch}.ID()))
}

func (s *Syncer) diverged(format string, args ...any) error {
	return s.stop(fmt.Errorf("%w: "+format, append([]any{ErrDiverged}, args...)...))
}

// stop gives up for good: what is in the bucket is somebody else's to continue.
// The first reason is the one that counts.
func (s *Syncer) stop(err error) error {
	if s.broken == nil {
		s.broken = err
		s.status.lastErr.Store(&err)
		s.status.fenced.Store(errors.Is(err, ErrFenced))
		s.cfg.Refuse(err)
	}
	return err
}

// straggling says whether a session that was fenced has changes that are only
// in its file.
func (s *Syncer) straggling() bool {
	return s.epoch != 0 && errors.Is(s.broken, ErrFenced) && s.books.Acked < s.cfg.Sequence()
}

// saveBranch stores what a fenced session had not sent, in its own folder under
// its own epoch. No history names it, so it stands in nobody's way, and nothing
// is lost. Writes are refused by now, so there is an end to it.
func (s *Syncer) saveBranch(ctx context.Context) error {
	if !s.straggling() {
		return nil
	}
	err := s.upload(ctx, s.cfg.Sequence())
	if errors.Is(err, remote.ErrLost) {
		// A clone of this machine writes under the same names. The branch
		// becomes that of a node of its own.
		if err := s.dropUploads(ctx); err != nil {
			return err
		}
		s.node = changelog.NewNodeID()
		err = s.upload(ctx, s.cfg.Sequence())
	}
	if err != nil {
		return fmt.Errorf("store the rest as a branch: %w", err)
	}
	s.event("stored as a branch what was not sent", "branch", remote.Branch{NodeID: s.node, Epoch: s.epoch}.ID(), "to", s.books.Acked)
	return nil
}
