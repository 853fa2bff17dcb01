package syncer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// ErrMalformed says that the database file is damaged. No snapshot of it is stored:
// it would be the newest point of the backup, and an older one is whole.
var ErrMalformed = errors.New("the database file is malformed, so no snapshot of it is stored; close the database and restore it from its backup")

// ailment is what is wrong with a file of which no snapshot can be stored. To find
// it out reads all of the file, so the engine looks again after a while that grows.
type ailment struct {
	err  error // nil: nothing is wrong
	next time.Time
	wait time.Duration
}

// maxAilment bounds that while.
const maxAilment = time.Hour

// waits says that it is too early to look again.
func (a ailment) waits() bool { return a.err != nil && time.Now().Before(a.next) }

// left is how long that is.
func (a ailment) left() time.Duration { return max(time.Until(a.next), time.Millisecond) }

// examined notes how the attempt to fix a state of the database has ended.
func (s *Syncer) examined(err error) error {
	if sqlite.IsNotDatabase(err) && !errors.Is(err, ErrMalformed) {
		err = fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	switch {
	case err == nil:
		s.ailment = ailment{}
	case errors.Is(err, ErrMalformed):
		wait := min(max(2*s.ailment.wait, s.cfg.Interval), maxAilment)
		s.ailment = ailment{err, time.Now().Add(wait), wait}
	}
	return err
}

// quickCheck is an ErrMalformed if SQLite finds the file damaged.
func quickCheck(ctx context.Context, c *sqlite.Conn) error {
	stop := c.Watch(ctx)
	defer stop()
	var wrong []string
	err := c.Each("PRAGMA quick_check(5)", func(st *sqlite.Stmt) error {
		if s := st.Text(0); s != "ok" {
			wrong = append(wrong, s)
		}
		return nil
	})
	if err == nil && len(wrong) > 0 {
		err = fmt.Errorf("%w: %q", ErrMalformed, wrong)
	}
	return err
}
