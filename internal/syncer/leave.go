package syncer

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Leave sends the pending changes, and marks the manifest as released: this session has
// ended, and the name is free. Nothing may be committed afterwards.
func (s *Syncer) Leave(ctx context.Context) error {
	err := s.settled(ctx, request{flush: true, leave: true})
	acked, confirmed, last := s.status.acked.Load(), s.status.confirmed.Load(), s.cfg.Sequence()
	if !s.status.mine.Load() {
		confirmed = acked // other sessions stored it; confirming it is up to them
	}
	if err != nil && confirmed < last {
		return fmt.Errorf("changes %d to %d are %w: %w", confirmed+1, last, ErrUnsent, err)
	}
	return nil // at most the release of the name has failed
}

// ErrUnsent means that the bucket does not have all committed changes.
var ErrUnsent = errors.New("not confirmed in the bucket yet; they are in the file and uploaded after the next Open")

// NoteSilence records in the file whether the bucket has been silent, for sessions that
// start within the next few minutes.
func (s *Syncer) NoteSilence(ctx context.Context, is bool) error {
	if err := s.acquire(ctx); err != nil {
		return err
	}
	defer s.release()
	b := s.books
	if b.Silent = 0; is {
		b.Silent = time.Now().UnixMilli()
	}
	return s.setBooks(ctx, b)
}

// Silent reports whether the bucket did not answer an earlier session of this file within
// the last few minutes.
func (f File) Silent() bool {
	since := time.Since(time.UnixMilli(f.Books.Silent)).Abs()
	return f.Books.Silent != 0 && since < silence
}

// silence is how long after a session without an answer later sessions wait less.
const silence = 5 * time.Minute
