package syncer

import (
	"context"
	"errors"
	"fmt"

	"github.com/driftdb/driftdb-go/internal/changelog"
	"github.com/driftdb/driftdb-go/internal/event"
	"github.com/driftdb/driftdb-go/internal/remote"
)

// fenced ends this session's part in the history: somebody else writes it.
func (s *Syncer) fenced(cause error) error {
	return s.stop(fmt.Errorf("%w: %w. What this session had stored by then and its rest are kept in the bucket as the branch %s, if that can be reached, and all of it is in this file. To bring it into the history, close the file and run driftdb resolve, or call Resolve",
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

// straggling says whether a session that was fenced still has to see to it that
// the bucket keeps what it has.
func (s *Syncer) straggling() bool {
	return s.epoch != 0 && errors.Is(s.broken, ErrFenced) && s.branched < s.cfg.Sequence()
}

// saveBranch stores what a fenced session had not sent, in its own folder under
// its own epoch. No history names it, so it stands in nobody's way, and nothing
// is lost. Writes are refused by now, so there is an end to it.
func (s *Syncer) saveBranch(ctx context.Context) error {
	if !s.straggling() {
		return nil
	}
	if s.ailment.waits() {
		return s.ailment.err
	}
	branch, err := s.storeBranch(ctx)
	if errors.Is(err, remote.ErrLost) || errors.Is(err, remote.ErrTaken) {
		// A clone of this machine writes under the same name and epoch, or a stranger
		// has put something there. The branch becomes that of a node of its own.
		if err := s.dropUploads(ctx); err != nil {
			return err
		}
		s.node = changelog.NewNodeID()
		branch, err = s.storeBranch(ctx)
	}
	if err != nil {
		return fmt.Errorf("store the rest as a branch: %w", err)
	}
	s.branched = s.books.Acked
	if branch != (remote.Batch{}) {
		s.event(event.BranchStored, "stored as a branch what is no part of the history", "branch", remote.Branch{NodeID: s.node, Epoch: s.epoch}.ID(), "from", branch.From, "to", branch.To)
	}
	return nil
}

// storeBranch stores the branch that this session's changes make, and returns
// what it holds; nothing if all of them are in the history. The batches are
// there. A snapshot joins them if some have the name of another node, if they
// cross a barrier, which a restore can do only with that, or if what they
// continue will not be kept as long as they are.
func (s *Syncer) storeBranch(ctx context.Context) (remote.Batch, error) {
	if err := s.upload(ctx, s.cfg.Sequence()); err != nil {
		return remote.Batch{}, err
	}
	began := s.manifest.Lineage[len(s.manifest.Lineage)-1].From
	if s.books.Acked < began {
		return remote.Batch{}, nil
	}
	all := remote.Batch{NodeID: s.node, Epoch: s.epoch, From: began, To: s.books.Acked}
	branch, exists, based, err := s.cfg.Bucket.Parting(ctx, s.manifest, all)
	if err != nil || !exists {
		return remote.Batch{}, err
	}
	if based && s.node == s.log.Identity().NodeID && !s.books.BarrierOpen() {
		return branch, nil
	}
	return s.standAlone(ctx, branch)
}

// standAlone stores a snapshot with a branch, so that it depends on nothing else.
func (s *Syncer) standAlone(ctx context.Context, branch remote.Batch) (_ remote.Batch, err error) {
	f, err := s.fix()
	if err != nil {
		return branch, s.examined(err)
	}
	v, err := s.picture(ctx, f)
	if err := s.examined(err); err != nil {
		return branch, err
	}
	defer func() { err = errors.Join(err, v.Close()) }()
	// A commit that was on its way when writes began to be refused is in it, too.
	if err := s.upload(ctx, f.snap.Sequence); err != nil {
		return branch, err
	}
	branch.To = f.snap.Sequence
	key := func(at int64) string { return remote.BranchSnapshotKey(s.cfg.Bucket.Name(), branch, at) }
	if err := s.store(ctx, v, &f.snap, key); err != nil {
		return branch, fmt.Errorf("store its snapshot: %w", err)
	}
	return branch, s.cfg.Bucket.PutBranch(ctx, s.log.Identity().DatabaseID, branch, f.snap)
}
