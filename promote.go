package driftdb

import (
	"context"
	"errors"
)

// Promote makes the follower the writer of its database: it catches up to the newest
// change in the bucket, ends following, and opens the file for writing, as Open does. cfg
// is the configuration for that; Name and Path are those of the follower, and may be left
// empty. The session takes the database over, so that the old writer is fenced.
//
// If Promote fails, the follower goes on following.
func (f *Follower) Promote(ctx context.Context, cfg Config) (*DB, error) {
	return nil, fail(errors.New("promoting is not possible yet"))
}
