package syncer

import (
	"context"
	"errors"
	"math/rand/v2"

	"github.com/driftdb/driftdb-go/internal/remote"
)

// leap bounds by how much a randomly drawn epoch exceeds the last one. The names of its
// batches cannot be predicted, so no other writer can have taken them.
const leap = 1 << 20

// renew gives this session, which has an epoch, another one. The swap succeeds only on
// the manifest that this session wrote last. If another writer has taken over, the
// session is fenced, as by any other swap. The old epoch's span ends with the confirmed
// changes. Changes that were stored after them are sent again.
func (e *epoch) renew(ctx context.Context) error {
	if e.books.Acked > e.manifest.LatestSequence {
		if err := e.confirm(ctx, e.upToVouched); err != nil {
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
		e.manifest = now // settle finds out which it is
	}
	return err
}

// upToVouched makes m confirm no more than what was vouched for, if a barrier without a
// snapshot comes after that.
func (e *epoch) upToVouched(m *remote.Manifest) {
	if e.books.BarrierOpen() && e.vouched.Sequence > e.books.Confirmed {
		m.LatestSequence, m.ChainHead = e.vouched.Sequence, e.vouched.Chain
	}
}

// renewed continues in the manifest's epoch, after a renew whose swap succeeded but whose
// response was lost. Batches stored since under the old epoch are not in the history.
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
