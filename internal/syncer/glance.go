package syncer

import (
	"github.com/driftdb/driftdb-go/internal/event"
)

// Glance checks in the background whether the bucket is ahead of the file, and if so logs
// a warning. It is for a database that does not sync by itself, and changes nothing. If
// the bucket does not answer, nothing is reported. Close ends it.
func (s *Syncer) Glance() {
	s.beside.Go(func() {
		stored, err := s.cfg.Direct.Manifest(s.life)
		if err != nil || stored.DatabaseID != s.log.Identity().DatabaseID || stored.LatestSequence <= s.cfg.Sequence() {
			return
		}
		s.status.behind.Store(true)
		s.cfg.Logger.Warn(event.BucketAhead, "the bucket is ahead of the file; a Flush, or an Open without ManualSync, brings the file up to date if it has no changes of its own",
			"file", s.cfg.Sequence(), "bucket", stored.LatestSequence)
	})
}
