package syncer

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Leave sends what is left, and lets the manifest say that this session has ended and
// the name is free. Nothing may be committed any more.
func (s *Syncer) Leave(ctx context.Context) error {
	err := s.settled(ctx, request{flush: true, leave: true})
	acked, confirmed, last := s.status.acked.Load(), s.status.confirmed.Load(), s.cfg.Sequence()
	if !s.status.mine.Load() {
		confirmed = acked // by others, or for them to do
	}
	if err != nil && confirmed < last {
		return fmt.Errorf("changes %d to %d are %w: %w", confirmed+1, last, ErrUnsent, err)
	}
	return nil // or all that failed is to say that the name is free
}

// ErrUnsent says that the bucket does not have all that was committed.
var ErrUnsent = errors.New("not confirmed in the bucket yet; they are in the file and uploaded after the next Open")

// NoteSilence remembers in the file whether the bucket has been silent, for the sessions
// that come within a few minutes.
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

// Silent reports whether the bucket did not answer a session of this file that has ended
// a few minutes ago at most.
func (f File) Silent() bool {
	since := time.Since(time.UnixMilli(f.Books.Silent)).Abs()
	return f.Books.Silent != 0 && since < silence
}

// silence is for how long a session that got no answer lets the next ones wait less.
const silence = 5 * time.Minute
