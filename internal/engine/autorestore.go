package engine

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/driftdb/driftdb-go/internal/changelog"
	"github.com/driftdb/driftdb-go/internal/digest"
	"github.com/driftdb/driftdb-go/internal/event"
	"github.com/driftdb/driftdb-go/internal/remote"
	"github.com/driftdb/driftdb-go/internal/restore"
	"github.com/driftdb/driftdb-go/internal/sqlite"
	"github.com/driftdb/driftdb-go/internal/syncer"
)

// restoreMissing restores the database from the bucket if there is none here.
func (o *opening) restoreMissing(ctx context.Context) error {
	if o.refreshing && !o.found.nothing && o.found.adopted != changelog.Known {
		return errors.New("the file has not been opened with DriftDB before, so it cannot be compared with the bucket")
	}
	if anew := o.following != nil && o.following.fresh && !o.restored; !o.found.nothing && !anew || !o.cfg.AutoRestore {
		return nil
	}
	if err := o.letGo(); err != nil {
		return err
	}
	o.cfg.Log.Info(event.RestoreStarted, "restoring", "path", o.path, "name", o.cfg.Name)
	err := o.restore(ctx, o.cfg.NodeID)
	if errors.Is(err, remote.ErrNoBackup) && !errors.Is(err, remote.ErrNameTaken) && !o.refreshing && o.following == nil {
		o.cfg.Log.Info(event.NothingToRestore, "nothing to restore, starting a new database", "name", o.cfg.Name)
		return nil
	}
	if err != nil {
		return err
	}
	return o.examine(ctx)
}

// restore creates the file from the bucket, replacing any that exists.
func (o *opening) restore(ctx context.Context, node string) error {
	began := time.Now()
	res, err := restore.Run(ctx, o.uplink.bucket, restore.Options{
		File: o.file, Overwrite: o.found.there, OnConnect: o.conns.onConnect, Finish: continued(node, o.following != nil || o.cfg.Promote),
		Confirmed: o.following != nil, Progress: o.following.progressing(),
	})
	if err != nil {
		return fmt.Errorf("restore %s: %w", o.cfg.Name, err)
	}
	res.Log(o.cfg.Log)
	o.restored = true
	o.cfg.Log.Info(event.Restored, "restored", "sequence", res.Sequence, "rows", res.Rows, "bytes", res.Bytes, "took", time.Since(began))
	return nil
}

// continued makes a restored file continue the history that it was restored from, as the
// copy of this node; "" is a new one. A follower only receives that history.
func continued(node string, follower bool) func(*sqlite.Conn, *remote.Manifest, remote.Position, int64, digest.Set) error {
	return func(c *sqlite.Conn, m *remote.Manifest, at remote.Position, last int64, sums digest.Set) error {
		b := changelog.Books{Acked: at.Sequence, Chain: at.Chain, Confirmed: min(at.Sequence, m.LatestSequence), Snapshot: -1, Synced: 1}
		if n := len(m.Snapshots); n > 0 {
			b.Snapshot, b.SnapshotBytes = m.Snapshots[n-1].Sequence, m.Snapshots[n-1].Size
		}
		return changelog.Continue(c, changelog.Identity{DatabaseID: m.DatabaseID, Name: m.Name, NodeID: node, Follower: follower}, b, last, sums)
	}
}

// maxRestores limits how often Open restores the file again because another writer has
// moved the bucket ahead of it meanwhile.
const maxRestores = 5

// outdated reports whether Open failed because the bucket is ahead of a file that has no
// changes of its own: either the bucket's log cannot bring the file up to date, or the
// file was restored just now and another writer had taken over at an earlier point.
func (o *opening) outdated(err error) bool {
	return errors.Is(err, restore.ErrCannotCatchUp) || o.restored && errors.Is(err, syncer.ErrDiverged)
}

// startAnew replaces such a file with what the bucket holds, and starts again.
func (o *opening) startAnew(ctx context.Context, cause error) error {
	node := o.cfg.NodeID
	if node == "" {
		node = o.found.id.NodeID
	}
	if err := o.disconnect(); err != nil {
		return err
	}
	o.cfg.Log.Info(event.RestoreNeeded, "the bucket is ahead of the file, which has nothing of its own; restoring it", "path", o.path, "reason", cause)
	if err := o.restore(ctx, node); err != nil {
		return fmt.Errorf("bring the file up to date: %w", err)
	}
	return o.start(ctx)
}
