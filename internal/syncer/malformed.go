package syncer

import (
	"errors"
	"fmt"
	"time"

	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// ErrMalformed says that the database file is damaged. No snapshot of it is stored if
// there is an older point that is whole: it would be the newest of the backup.
var ErrMalformed = errors.New("the database file is malformed, so no snapshot of it is stored; " +
	"close the database and restore it from its backup or, if it has none, recover it with the .recover of the sqlite3 shell")

// ailment is why no snapshot can be stored: the file is damaged, or the store refuses
// it. To find it out reads all of the file, so the engine tries again after a while
// that grows.
type ailment struct {
	err  error // nil: nothing is wrong
	next time.Time
	wait time.Duration
}

// maxAilment bounds that while, and maxSetback the one after another failure, such as
// that of the network.
const (
	maxAilment = time.Hour
	maxSetback = 5 * time.Minute
)

// again is the ailment after another attempt that failed with err.
func (a ailment) again(err error, first, most time.Duration) ailment {
	wait := min(max(2*a.wait, first), most)
	return ailment{err, time.Now().Add(wait), wait}
}

// waits says that it is too early to look again.
func (a ailment) waits() bool { return a.err != nil && time.Now().Before(a.next) }

// left is how long that is.
func (a ailment) left() time.Duration { return max(time.Until(a.next), time.Millisecond) }

// ailing is why no snapshot can be stored, or nil.
func (p *snapshotter) ailing() error { return p.ailment.err }

// refused is ailing while it is too early to look again.
func (p *snapshotter) refused() error {
	if p.ailment.waits() {
		return p.ailment.err
	}
	return nil
}

// patience is how long it is until then.
func (p *snapshotter) patience() time.Duration { return p.ailment.left() }

// examined notes how the attempt to fix a state of the database has ended.
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

// failing notes that a task has failed with err.
func (p *snapshotter) failing(err error) error {
	err = p.examined(err)
	if !errors.Is(err, ErrMalformed) {
		p.ailment = p.ailment.again(err, p.cfg.Interval, maxSetback)
	}
	return err
}
