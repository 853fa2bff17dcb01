package engine

import (
	"context"
	"errors"

	"github.com/driftdb/driftdb-go/internal/syncer"
)

// A follower is promoted by opening its file as a writer's. The difference to Open is that
// the bucket has to answer: the file is brought up to the tip, and the session takes its
// epoch, before Open returns. Only then does the file stop being a follower's, in one
// commit. So whatever happens, it is either: a follower that is promoted again, or a
// database like any other.

// mayPromote returns an error if what is there is not a follower's.
func (o *opening) mayPromote() error {
	if o.cfg.Promote && !o.found.id.Follower {
		return errors.New("the file is not a follower's, so there is nothing to promote; Open opens it for writing")
	}
	return nil
}

// compareFollower compares the file with the bucket, which has to answer. It changes
// neither.
func (o *opening) compareFollower(ctx context.Context) error {
	file, err := o.described()
	if err != nil {
		return err
	}
	c, err := syncer.Compare(ctx, o.uplink.bucket, file, false)
	if err == nil && c.Vacant() {
		err = syncer.Vacated(o.cfg.Name)
	}
	if err == nil {
		o.compared = &c
	}
	return err
}

// promote takes the database over, and makes the file a writer's.
func (o *opening) promote(ctx context.Context) error {
	if err := o.uplink.sync.Promote(ctx); err != nil {
		return err
	}
	o.id.Follower = false
	return nil
}
