package syncer

import (
	"errors"
	"fmt"
	"time"

	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// ErrMalformed means that the database file is damaged. If the backup has an intact older
// point, no snapshot of the file is stored: it would become the backup's newest point.
var ErrMalformed = errors.New("the database file is malformed, so no snapshot of it is stored; " +
	"close the database and restore it from its backup or, if it has none, recover it with the .recover of the sqlite3 shell")

// ailment is the reason why no snapshot can be stored: the file is damaged, or an attempt
// to store it failed. Each attempt reads the whole file, so the engine retries with
// growing delays.
type ailment struct {
	err  error // nil: nothing is wrong
	next time.Time
	wait time.Duration
}

// maxAilment bounds the delay if the file is damaged, maxSetback the delay after any
// other failure, such as a network error.
const (
	maxAilment = time.Hour
	maxSetback = 5 * time.Minute
)

// again returns the ailment after another attempt failed with err.
func (a ailment) again(err error, first, most time.Duration) ailment {
	wait := min(max(2*a.wait, first), most)
	return ailment{err, time.Now().Add(wait), wait}
}

// waits reports whether it is too early for another attempt.
func (a ailment) waits() bool { return a.err != nil && time.Now().Before(a.next) }

// left returns the time until the next attempt.
func (a ailment) left() time.Duration { return max(time.Until(a.next), time.Millisecond) }

// ailing returns the reason why no snapshot can be stored, or nil.
func (p *snapshotter) ailing() error { return p.ailment.err }

// refused returns what ailing does while it is too early for another attempt, else nil.
func (p *snapshotter) refused() error {
	if p.ailment.waits() {
		return p.ailment.err
	}
	return nil
}

// patience returns the time until the next attempt.
func (p *snapshotter) patience() time.Duration { return p.ailment.left() }

// examined records the result of an attempt to pin and examine a state of the database.
func (p *snapshotter) examined(err error) error {
	if sqlite.IsNotDatabase(err) && !errors.Is(err, ErrMalformed) {
		err = fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	switch {
	case err == nil:
		p.ailment = ailment{}
	case errors.Is(err, ErrMalformed):
		p.ailment = p.ailment.again(err, p.cfg.Interval, maxAilment)
	}
	return err
}

// failing records that a task failed with err.
func (p *snapshotter) failing(err error) error {
	err = p.examined(err)
	if !errors.Is(err, ErrMalformed) {
		p.ailment = p.ailment.again(err, p.cfg.Interval, maxSetback)
	}
	return err
}
