package follow

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/driftdb/driftdb-go/internal/batch"
	"github.com/driftdb/driftdb-go/internal/changelog"
	"github.com/driftdb/driftdb-go/internal/dbfile"
	"github.com/driftdb/driftdb-go/internal/engine"
	"github.com/driftdb/driftdb-go/internal/event"
	"github.com/driftdb/driftdb-go/internal/foreign"
	"github.com/driftdb/driftdb-go/internal/remote"
	"github.com/driftdb/driftdb-go/internal/restore"
	"github.com/driftdb/driftdb-go/internal/seal"
	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// ErrOther means that the bucket holds another database than the file follows.
var ErrOther = errors.New("the bucket holds another database under this name than the one that the file follows; nothing was overwritten. To follow the one that is there, follow into another path, or move the file away")

// maxRebaseDelay bounds how long a rebase that failed is not tried again: each reads a whole
// snapshot.
const maxRebaseDelay = time.Hour

// loop is the goroutine that follows. Its fields are for it alone.
type loop struct {
	f    *Follower
	file *engine.Following
	log  event.Log
	pace *pace

	began    time.Time     // the last round
	manifest remote.Stored // the last one that was accepted
	seen     remote.Point  // that it, or the file, has confirmed

	failing     bool  // it was told that following fails …
	gaveUp      bool  // … and that waiting does not help
	damagedAt   int64 // 1 + the sequence after which damage was found by the last round
	rebaseAfter time.Time
	rebaseDelay time.Duration
}

// first does the first round for the caller of Open, who learns of an error that lasts.
func (l *loop) first(ctx context.Context) error {
	err := l.round(ctx)
	if l.damagedAt != 0 && ctx.Err() == nil {
		err = l.round(ctx) // which knows whether that was in transit
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if lasting(err) {
		return err
	}
	return nil
}

// run follows until ctx ends. A failure of a round has been told when the round ends.
func (l *loop) run(ctx context.Context) {
	var news <-chan struct{} // tells when something may have come; nil: nothing does
	defer func() {
		for news != nil { // its goroutine ends with ctx
			if _, tells := <-news; !tells {
				news = nil
			}
		}
	}()
	for {
		if news == nil {
			if news = l.watch(ctx); news != nil {
				_ = l.round(ctx) // for what came before it began to tell
			}
		}
		timer := time.NewTimer(l.pace.next(news != nil, l.f.board.awaited()))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		case <-l.f.board.ask:
			l.pace.asked()
			l.rest(ctx)
		case _, tells := <-news:
			if !tells {
				news = nil
			}
		}
		timer.Stop()
		_ = l.round(ctx)
	}
}

// rest waits until it is long enough since the last round that many calls of WaitFor do not
// ask the store all the time.
func (l *loop) rest(ctx context.Context) {
	timer := time.NewTimer(min(eager, l.f.cfg.Interval) - time.Since(l.began))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// watch returns a channel that tells when the manifest may have changed, or nil if the store
// cannot tell. Then it is asked again and again.
func (l *loop) watch(ctx context.Context) <-chan struct{} {
	news, err := l.f.bucket.Watch(ctx)
	if err != nil {
		return nil
	}
	return news
}

// round asks for news once, applies them, and tells of the outcome.
func (l *loop) round(ctx context.Context) error {
	l.f.board.begin()
	l.began = time.Now()
	began := l.began
	l.f.watchdog.begun()
	came, err := l.step(ctx)
	if ctx.Err() != nil {
		return err
	}
	if came && err == nil {
		l.pace.came()
	} else {
		l.pace.nothing()
	}
	if err == nil {
		l.f.watchdog.succeeded()
	}
	l.tell(err)
	l.f.board.update(func(s *state) {
		s.rounds++
		s.sequence, s.changed = l.file.At().Sequence, l.file.LastChange()
		s.last, s.lasting = err, nil
		switch {
		case err == nil:
			s.current, s.stalled = began, false
		case lasting(err):
			s.lasting = err
			fallthrough
		default:
			s.failures++
		}
	})
	return err
}

// step asks for news, and applies them. came reports whether there were any.
func (l *loop) step(ctx context.Context) (came bool, err error) {
	now, changed, err := l.f.bucket.Newer(ctx, l.manifest)
	l.f.board.update(func(s *state) {
		s.polls++
		if err == nil {
			s.polled = time.Now()
		}
		if err == nil && !changed {
			s.unchanged++
		}
	})
	if err != nil {
		return false, err
	}
	if changed {
		if err := l.accept(now.Manifest); err != nil {
			return false, err
		}
		l.manifest, l.seen = now, now.Point()
		l.f.board.update(func(s *state) { s.confirmed = now.LatestSequence })
	}
	m := l.manifest.Manifest
	if l.file.At().Sequence >= m.LatestSequence && l.file.Altered() == nil {
		return changed, nil
	}
	err = l.file.CatchUp(ctx, m, l.applied)
	if !l.needsRebase(err) {
		return true, err
	}
	return true, l.rebase(ctx, m, err)
}

// accept returns an error if m is not of the history that the file follows.
func (l *loop) accept(m *remote.Manifest) error {
	if id := l.file.Identity(); m.DatabaseID != id.DatabaseID {
		return fmt.Errorf("%w (there: id %s; followed: %s)", ErrOther, m.DatabaseID, id.DatabaseID)
	}
	seen := l.seen
	if seen == (remote.Point{}) {
		seen = l.file.Seen()
	}
	if seen == (remote.Point{}) {
		return nil
	}
	return m.Lacks(seen)
}

// applied is called after each batch.
func (l *loop) applied(changes int64) {
	l.f.watchdog.alive()
	l.f.board.update(func(s *state) {
		s.sequence, s.applied = l.file.At().Sequence, time.Now()
		s.batches++
		s.changes += changes
	})
}

// needsRebase reports whether only a rebase can go on. Damage may be in transit: it counts
// when it is found twice at the same place.
func (l *loop) needsRebase(err error) bool {
	before := l.damagedAt
	l.damagedAt = 0
	switch {
	case err == nil, errors.Is(err, restore.ErrMissing):
		return false
	case errors.Is(err, engine.ErrOwnChanges):
		return true
	case !errors.Is(err, restore.ErrCannotCatchUp):
		return false
	case !remote.IsDamage(err):
		return true
	}
	l.damagedAt = l.file.At().Sequence + 1
	return before == l.damagedAt
}

// rebase begins again from a snapshot, because of why.
func (l *loop) rebase(ctx context.Context, m *remote.Manifest, why error) error {
	if time.Now().Before(l.rebaseAfter) {
		l.damagedAt = l.file.At().Sequence + 1
		return why
	}
	from := l.file.At().Sequence
	if err := l.file.Rebase(ctx, m); err != nil {
		l.rebaseDelay = min(max(2*l.rebaseDelay, l.f.cfg.Interval), maxRebaseDelay)
		l.rebaseAfter = time.Now().Add(l.rebaseDelay)
		return fmt.Errorf("begin again from a snapshot, because %w: %w", why, err)
	}
	l.rebaseAfter, l.rebaseDelay = time.Time{}, 0
	to := l.file.At().Sequence
	l.f.board.update(func(s *state) {
		s.sequence, s.applied = to, time.Now()
		s.rebases++
	})
	l.log.Info(event.FollowRebased, "the log could not bring the follower up to date; it began again from a snapshot", "from", from, "to", to, "reason", why)
	return nil
}

// tell reports the first of consecutive failures, the first that waiting does not help, and
// the success after them.
func (l *loop) tell(err error) {
	last := lasting(err)
	switch {
	case err == nil && l.failing:
		l.log.Info(event.FollowResumed, "following works again", "sequence", l.file.At().Sequence)
	case last && !l.gaveUp:
		l.log.Error(event.FollowFailed, "the backup cannot be followed; this will hardly pass by itself, but is tried again every minute", "error", err, "sequence", l.file.At().Sequence)
	case err != nil && !l.failing:
		l.log.Warn(event.FollowFailed, "following failed; it is tried again", "error", err, "sequence", l.file.At().Sequence)
	}
	l.failing, l.gaveUp = err != nil, last
}

// stalled is called by the watchdog, while the loop may hang.
func (l *loop) stalled() {
	var now state
	l.f.board.update(func(s *state) {
		s.stalled = true
		now = *s
	})
	l.log.Warn(event.FollowStalled, "the follower has made no progress for a minute", "sequence", now.sequence, "current", time.Since(now.current).Round(time.Second), "error", now.last)
}

// permanent are the errors that time does not heal: somebody has to do something.
var permanent = []error{
	ErrOther, remote.ErrRolledBack, remote.ErrNoBackup, remote.ErrHeadless, seal.ErrKey, fs.ErrPermission,
	remote.ErrVersion, batch.ErrVersion, seal.ErrVersion, changelog.ErrVersion,
	restore.ErrMissing, dbfile.ErrReplaced, foreign.ErrMixture, sqlite.ErrOtherPages,
}

// lasting reports whether waiting does not help against err.
func lasting(err error) bool {
	for _, p := range permanent {
		if errors.Is(err, p) {
			return true
		}
	}
	return false
}
