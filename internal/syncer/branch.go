package syncer

import (
	"context"
	"errors"
	"fmt"

	"github.com/driftdb/driftdb-go/internal/changelog"
	"github.com/driftdb/driftdb-go/internal/event"
	"github.com/driftdb/driftdb-go/internal/remote"
)

// brancher stores the changes of a fenced session in the bucket.
type brancher struct {
	*state
	epoch     *epoch
	uploads   *uploader
	snapshots *snapshotter

	branched int64 // the last sequence that was stored
}

// straggling reports whether this session was fenced and still has changes to store.
func (br *brancher) straggling() bool {
	return br.session.epoch != 0 && errors.Is(br.broken, ErrFenced) && br.branched < br.cfg.Sequence()
}

// save stores the unsent changes of a fenced session as a branch, in the session's own
// folder and epoch. The branch is not part of the history, so it disturbs no other
// session, and no change is lost. Writes are refused by now, so the branch is finite.
func (br *brancher) save(ctx context.Context) error {
	if !br.straggling() {
		return nil
	}
	if err := br.snapshots.refused(); err != nil {
		return err
	}
	branch, err := br.store(ctx)
	if errors.Is(err, remote.ErrLost) || errors.Is(err, remote.ErrTaken) {
		// A clone of this machine writes under the same name and epoch, or another program
		// has stored an object there. Store the branch under a new node.
		if err := br.dropUploads(ctx); err != nil {
			return err
		}
		br.epoch.rename(changelog.NewNodeID())
		branch, err = br.store(ctx)
	}
	if err != nil {
		return fmt.Errorf("store the remaining changes as a branch: %w", err)
	}
	br.branched = br.books.Acked
	if branch != (remote.Batch{}) {
		br.event(event.BranchStored, "stored the changes that are not part of the history as a branch", "branch", remote.Branch{NodeID: br.session.node, Epoch: br.session.epoch}.ID(), "from", branch.From, "to", branch.To)
	}
	return nil
}

// store uploads this session's changes as a branch, and returns the range that it holds:
// none if all of them are in the history. The branch consists of the session's batches.
// A snapshot is added if some of them have another node's name, if they cross a barrier,
// which a restore cannot do without a snapshot, or if the history that they continue will
// not be kept as long as they are.
func (br *brancher) store(ctx context.Context) (remote.Batch, error) {
	if err := br.uploads.upload(ctx, br.cfg.Sequence()); err != nil {
		return remote.Batch{}, err
	}
	began := br.epoch.current().Lineage[len(br.epoch.current().Lineage)-1].From
	if br.books.Acked < began {
		return remote.Batch{}, nil
	}
	all := remote.Batch{NodeID: br.session.node, Epoch: br.session.epoch, From: began, To: br.books.Acked}
	branch, exists, based, err := br.cfg.Bucket.Parting(ctx, br.epoch.current(), all)
	if err != nil || !exists {
		return remote.Batch{}, err
	}
	if based && br.session.node == br.log.Identity().NodeID && !br.books.BarrierOpen() {
		return branch, nil
	}
	return br.standAlone(ctx, branch)
}

// standAlone stores a snapshot with a branch, so that the branch depends on nothing else.
func (br *brancher) standAlone(ctx context.Context, branch remote.Batch) (_ remote.Batch, err error) {
	f, err := br.snapshots.fix(ctx) // includes a commit that was in progress when writes were first refused
	if err != nil {
		return branch, err
	}
	v, err := br.snapshots.picture(ctx, f)
	if err := br.snapshots.examined(err); err != nil {
		return branch, err
	}
	defer func() { err = errors.Join(err, v.Close()) }()
	branch.To = f.snap.Sequence
	key := func(at int64) string { return remote.BranchSnapshotKey(br.cfg.Bucket.Name(), branch, at) }
	if err := br.snapshots.store(ctx, v, &f.snap, key); err != nil {
		return branch, fmt.Errorf("store its snapshot: %w", err)
	}
	return branch, br.cfg.Bucket.PutBranch(ctx, br.log.Identity().DatabaseID, branch, f.snap)
}
