// Package follow knows when a follower asks the store for news, what it does with them and
// with failures, and who waits for what. How the database itself moves is engine.Following's
// business.
package follow

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/driftdb/driftdb-go/internal/backup"
	"github.com/driftdb/driftdb-go/internal/engine"
	"github.com/driftdb/driftdb-go/internal/remote"
	"github.com/driftdb/driftdb-go/internal/restore"
	"github.com/driftdb/driftdb-go/internal/sqlite"
	"github.com/driftdb/driftdb-go/internal/wrap"
	"github.com/driftdb/driftdb-go/internal/writer"
	"github.com/driftdb/driftdb-go/objstore"
)

// Config says how to follow a backup.
type Config struct {
	engine.Config               // of the database that readers get; its Log gets the events
	Interval      time.Duration // see minInterval; 0: defaultInterval
	Progress      func(restore.Progress)
}

const (
	defaultInterval = 5 * time.Second
	minInterval     = 10 * time.Millisecond
	maxInterval     = time.Hour
	// patience is how long the store may be silent before a request counts as failed.
	patience = time.Minute
)

// Follower keeps a database up to date with a backup. Many goroutines can call its methods
// at the same time.
type Follower struct {
	cfg    Config
	bucket *remote.Bucket
	meter  *wrap.Meter

	stop context.CancelCauseFunc
	work sync.WaitGroup // the loop and the watchdog
	once sync.Once
	end  error // of Close

	board    board
	watchdog watchdog
}

// Open makes the file of cfg a follower of b, or goes on with one, and brings it up to date.
// A store that does not answer is no error if the file is there.
func Open(ctx context.Context, b *backup.Backup, cfg Config) (*Follower, error) {
	if b.Bucket() == nil {
		return nil, backup.ErrNoStore
	}
	if cfg.Interval == 0 {
		cfg.Interval = defaultInterval
	}
	if cfg.Interval < minInterval || cfg.Interval > maxInterval {
		return nil, fmt.Errorf("PollInterval is %s; give %s to %s, or 0 for %s", cfg.Interval, minInterval, maxInterval, defaultInterval)
	}
	f := &Follower{cfg: cfg, meter: &wrap.Meter{}}
	f.bucket = b.Bucket().Through(func(s objstore.Store) objstore.Store {
		f.meter.Store = wrap.Prompt(s, func() time.Duration { return patience })
		return f.meter
	})
	l, err := f.begin(ctx)
	if err != nil {
		return nil, err
	}
	f.start(l)
	return f, nil
}

// begin opens the file and does the first round.
func (f *Follower) begin(ctx context.Context) (*loop, error) {
	l, err := f.open(ctx, false)
	if err != nil {
		return nil, err
	}
	err = l.first(ctx)
	if errors.Is(err, sqlite.ErrOtherPages) { // which cannot be put into an open file
		if err = l.file.Close(); err != nil {
			return nil, err
		}
		if l, err = f.open(ctx, true); err != nil {
			return nil, err
		}
		err = l.first(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, l.file.Close())
	}
	return l, nil
}

// open opens the file, which fresh restores anew.
func (f *Follower) open(ctx context.Context, fresh bool) (*loop, error) {
	l := &loop{f: f, log: f.cfg.Log, pace: newPace(f.cfg.Interval)}
	file, err := engine.Follow(ctx, f.cfg.Config, engine.FollowOptions{Bucket: f.bucket, Fresh: fresh, Progress: func(p restore.Progress) {
		f.watchdog.alive()
		if f.cfg.Progress != nil {
			f.cfg.Progress(p)
		}
	}})
	if err != nil {
		return nil, err
	}
	l.file = file
	f.board.open(file)
	return l, nil
}

// start starts following in the background.
func (f *Follower) start(l *loop) {
	ctx, stop := context.WithCancelCause(context.Background())
	f.stop = stop
	f.work.Go(func() { l.run(ctx) })
	f.work.Go(func() { f.watchdog.run(ctx, l.stalled) })
}

// Close ends following and closes the database.
func (f *Follower) Close() error {
	if f.cfg.Log.Inside() {
		return errors.New("Close of a follower in OnEvent or a Logger's handler would wait for itself: call it on another goroutine, and do not wait for that")
	}
	f.once.Do(func() {
		f.stop(writer.ErrClosed)
		f.work.Wait()
		f.end = f.board.close(writer.ErrClosed)
	})
	return f.end
}

// DB is the database, for reading.
func (f *Follower) DB() *engine.DB { return f.board.database() }

// WaitFor returns when the database has the change of this number.
func (f *Follower) WaitFor(ctx context.Context, sequence int64) error {
	if f.cfg.Log.Inside() {
		return errors.New("WaitFor in OnEvent or a Logger's handler would wait for itself: call it on another goroutine, and do not wait for that")
	}
	return f.board.wait(ctx, sequence)
}
