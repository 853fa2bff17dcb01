package syncer

import (
	"context"
	"errors"
	"math/rand/v2"

	"github.com/driftdb/driftdb-go/internal/changelog"
	"github.com/driftdb/driftdb-go/internal/digest"
	"github.com/driftdb/driftdb-go/internal/event"
	"github.com/driftdb/driftdb-go/internal/remote"
)

// leap bounds how far ahead an epoch is that follows one with a stranger's object: its
// names cannot be told beforehand, so nobody can have taken them.
const leap = 1 << 20

// ship uploads what was committed up to target. Where a stranger's object has the name
// of a batch, the session goes on under other names.
func (s *Syncer) ship(ctx context.Context, target int64) error {
	err := s.upload(ctx, target)
	if !errors.Is(err, remote.ErrTaken) {
		return err
	}
	s.cfg.Logger.Warn(event.EpochRenewed, "somebody else has stored an object where this session's next batch belongs; it goes on under another epoch",
		"error", err)
	if err := s.renew(ctx); err != nil {
		return err
	}
	return s.upload(ctx, target)
}

// renew gives this session, which has an epoch, another one. The swap succeeds only on
// the manifest that this session wrote last: where somebody has taken over, it is fenced
// like by any other swap. The span of the old epoch ends with what is confirmed; what
// was stored behind that is sent again.
func (s *Syncer) renew(ctx context.Context) error {
	if s.books.Acked > s.manifest.LatestSequence {
		if err := s.confirm(ctx, nil); err != nil {
			return err
		}
	}
	if _, err := s.stepBack(ctx); err != nil {
		return err
	}
	now, err := s.take(ctx, s.cfg.Bucket, s.manifest, 1+rand.Int64N(leap))
	switch {
	case errors.Is(err, remote.ErrLost):
		return s.fenced(err)
	case errors.Is(err, remote.ErrGone):
		return s.missing(ctx, err)
	case err != nil:
		s.manifest = now // whatever that turns out to be
	}
	return err
}

// renewed goes on in the epoch that the manifest has: the swap of a renew, whose answer
// was lost. What was stored meanwhile under the old one is not part of the history.
func (s *Syncer) renewed(ctx context.Context) error {
	s.epoch, s.pieces = s.manifest.Epoch, nil
	if err := s.dropUploads(ctx); err != nil {
		return err
	}
	if stepped, err := s.stepBack(ctx); err != nil || !stepped {
		return err
	}
	return errors.New("the manifest had another epoch since before the last upload; what that stored is sent again")
}

// stepBack lets the books say no more than the manifest confirms.
func (s *Syncer) stepBack(ctx context.Context) (stepped bool, err error) {
	b := s.books
	if b.Acked <= s.manifest.LatestSequence {
		return false, nil
	}
	b.Acked, b.Chain, b.Confirmed, b.Group = s.manifest.LatestSequence, s.manifest.ChainHead, s.manifest.LatestSequence, changelog.Group{}
	s.unsummed = true
	return true, s.record(ctx, b, changelog.Digests{Known: digest.Set{}, Told: digest.Set{}})
}
