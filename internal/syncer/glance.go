package syncer

import (
	"github.com/driftdb/driftdb-go/internal/event"
)

// Glance looks whether the bucket is ahead of the file, and tells.
// It is for a database that is not kept in step: nothing is changed, and nobody waits
// for it. A bucket that does not answer says nothing. Close ends it.
func (s *Syncer) Glance() {
	s.glances.Go(func() {
		stored, err := s.cfg.Direct.Manifest(s.life)
		if err != nil || stored.DatabaseID != s.log.Identity().DatabaseID || stored.LatestSequence <= s.cfg.Sequence() {
			return
		}
		s.status.behind.Store(true)
		s.cfg.Logger.Warn(event.BucketAhead, "the bucket is ahead of the file; a Flush, or an Open without ManualSync, brings the file up to date if it has no changes of its own",
			"file", s.cfg.Sequence(), "bucket", stored.LatestSequence)
	})
}
