package syncer

import (
	"context"
	"errors"
	"math/rand/v2"

	"github.com/driftdb/driftdb-go/internal/remote"
)

// leap bounds how far ahead an epoch is that follows one with a stranger's object: its
// names cannot be told beforehand, so nobody can have taken them.
const leap = 1 << 20

// renew gives this session, which has an epoch, another one. The swap succeeds only on
// the manifest that this session wrote last: where somebody has taken over, it is fenced
// like by any other swap. The span of the old epoch ends with what is confirmed; what
// was stored behind that is sent again.
func (e *epoch) renew(ctx context.Context) error {
	if e.books.Acked > e.manifest.LatestSequence {
		if err := e.confirm(ctx, nil); err != nil {
			return err
		}
	}
	if _, err := e.stepBack(ctx); err != nil {
		return err
	}
	now, err := e.take(ctx, e.cfg.Bucket, e.manifest, 1+rand.Int64N(leap))
	switch {
	case errors.Is(err, remote.ErrLost):
		return e.fenced(err)
	case errors.Is(err, remote.ErrGone):
		return e.missing(ctx, err)
	case err != nil:
		e.manifest = now // whatever that turns out to be
	}
	return err
}

// renewed goes on in the epoch that the manifest has: the swap of a renew, whose answer
// was lost. What was stored meanwhile under the old one is not part of the history.
func (e *epoch) renewed(ctx context.Context) error {
	e.session.epoch = e.manifest.Epoch
	if err := e.dropUploads(ctx); err != nil {
		return err
	}
	if stepped, err := e.stepBack(ctx); err != nil || !stepped {
		return err
	}
	return errors.New("the manifest's epoch changed before the last upload; its changes are uploaded again")
}
