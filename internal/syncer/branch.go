package syncer

import (
	"context"
	"errors"
	"fmt"

	"github.com/driftdb/driftdb-go/internal/changelog"
	"github.com/driftdb/driftdb-go/internal/event"
	"github.com/driftdb/driftdb-go/internal/remote"
)

// brancher sees to it that the bucket keeps what a session has that was fenced.
type brancher struct {
	*state
	epoch     *epoch
	uploads   *uploader
	snapshots *snapshotter

	branched int64 // up to where the bucket keeps it
}

// straggling reports whether a session that was fenced still has to see to it that
// the bucket keeps what it has.
func (br *brancher) straggling() bool {
	return br.session.epoch != 0 && errors.Is(br.broken, ErrFenced) && br.branched < br.cfg.Sequence()
}

// save stores what a fenced session had not sent, in its own folder under
// its own epoch. No history names it, so it stands in nobody's way, and nothing
// is lost. Writes are refused by now, so there is an end to it.
func (br *brancher) save(ctx context.Context) error {
	if !br.straggling() {
		return nil
	}
	if err := br.snapshots.refused(); err != nil {
		return err
	}
	branch, err := br.store(ctx)
	if errors.Is(err, remote.ErrLost) || errors.Is(err, remote.ErrTaken) {
		// A clone of this machine writes under the same name and epoch, or a stranger
		// has put something there. The branch becomes that of a node of its own.
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

// store stores the branch that this session's changes make, and returns
// what it holds; nothing if all of them are in the history. The batches are
// there. A snapshot joins them if some have the name of another node, if they
// cross a barrier, which a restore can do only with that, or if what they
// continue will not be kept as long as they are.
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

// standAlone stores a snapshot with a branch, so that it depends on nothing else.
func (br *brancher) standAlone(ctx context.Context, branch remote.Batch) (_ remote.Batch, err error) {
	f, err := br.snapshots.fix(ctx) // a commit that was on its way when writes began to be refused is in it, too
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
