package restore

import (
	"context"
	"errors"

	"github.com/driftdb/driftdb-go/internal/remote"
)

// outside adds to an error about a point that the backup does not have which points it has.
// A branch, and a history that is yet to be proven, have others.
func (j *job) outside(ctx context.Context, err error) error {
	asked := j.opts.Target != (Target{}) && j.opts.Branch == "" && j.opts.Manifest == nil
	if !asked || errors.Is(err, ErrBarrier) || !errors.Is(err, ErrNoPoint) && !errors.Is(err, remote.ErrTooOld) {
		return err
	}
	return j.b.Outside(ctx, j.m, err)
}
