package syncer

import (
	"context"
	"fmt"

	"github.com/driftdb/driftdb-go/internal/remote"
)

// Promote makes a follower's file a writer's. It brings the file up to the end of the
// bucket's history, and gives this session its epoch. The file stops being a follower's
// in a commit after that. If there is none, because of an error or a crash, the bucket
// waits for a writer that has not stored anything yet: the file is promoted again, or
// another one takes over.
//
// restore.ErrCannotCatchUp means that the file must be restored first, which loses nothing.
func (s *Syncer) Promote(ctx context.Context) error {
	if err := s.acquire(ctx); err != nil {
		return err
	}
	defer s.release()
	ctx, done := s.bound(ctx)
	defer done()
	err := s.epoch.join(ctx, s.cfg.Bucket, nil, func(b *remote.Bucket, c Comparison) error {
		if err := s.epoch.probe(ctx, b, c); err != nil {
			return err
		}
		_, err := s.epoch.take(ctx, b, c.stored, 1)
		return err
	})
	if err != nil {
		return err
	}
	return s.commit(ctx, s.log.Promote)
}

// Vacated is the error of a promotion in a bucket that has nothing under the name.
func Vacated(name string) error {
	return fmt.Errorf("%w for database %q: what the file follows is gone from the bucket. To go on with what the file has, Detach it and open it under another name", remote.ErrNoBackup, name)
}
