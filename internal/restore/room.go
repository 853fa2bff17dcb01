package restore

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/driftdb/driftdb-go/internal/apply"
	"github.com/driftdb/driftdb-go/internal/dbfile"
	"github.com/driftdb/driftdb-go/internal/remote"
	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// The contents of a bucket can be made to expand: a batch of a few kilobytes can lead to
// an index of gigabytes. Two things limit that. The file never has more pages than the
// manifest allows, and a restore never takes the last space on a disk, which others need.

// ErrNoRoom means that the disk has no room for the database.
var ErrNoRoom = errors.New("there is not enough disk space")

// noRoom adds to ErrNoRoom what else takes space.
func noRoom(err error, f *dbfile.File) error {
	if path, size := f.Kept(); errors.Is(err, ErrNoRoom) && path != "" {
		err = fmt.Errorf("%w; %s, which an earlier restore has replaced, takes %d MiB: delete it if you do not need it", err, path, size>>20)
	}
	return err
}

// bound keeps c's database from growing beyond what m says it can need. explain tells
// whether that limit caused an error of the replay.
func bound(c *sqlite.Conn, m *remote.Manifest, r *room) (explain func(error) error, err error) {
	size, err := c.Int("PRAGMA main.page_size")
	if err != nil {
		return nil, err
	}
	has, err := c.Int("PRAGMA main.page_count")
	if err != nil {
		return nil, err
	}
	limit := m.Largest.Limit(size)
	if limit == 0 {
		limit = maxPages
	}
	limit = min(limit, maxPages-has)
	return func(err error) error {
		switch {
		case !sqlite.IsFull(err):
			return err
		case m.Largest == remote.Extent{} || !r.has(limit*size): // the disk was full before the limit
			return fmt.Errorf("%w: %w", ErrNoRoom, err)
		}
		return fmt.Errorf("%w: the database grows beyond %d MiB, but its manifest says that it never had more than %d pages: %w",
			apply.ErrForged, (limit+has)*size>>20, m.Largest.Pages, err)
	}, c.Exec(fmt.Sprintf("PRAGMA main.max_page_count=%d", limit+has)) // the pages it has already were bounded as a snapshot
}

const (
	// maxPages is how many pages SQLite lets a database have.
	maxPages = 1<<32 - 2
	// A restore leaves reserve bytes of a disk's free space to others, or 1/share of it
	// if that is less.
	reserve, share = 16 << 20, 8
	// lookEvery is how often the free space is checked.
	lookEvery = 100 * time.Millisecond
)

// room is the free space on the disks of the new file and of SQLite's temporary files.
type room struct {
	folders [2]string
	leave   [2]int64
}

func newRoom(path string) *room {
	r := &room{folders: [...]string{filepath.Dir(path), os.TempDir()}}
	for i, folder := range r.folders {
		free, _ := dbfile.FreeSpace(folder)
		r.leave[i] = min(reserve, free/share)
	}
	return r
}

// has reports whether both disks have room for size bytes.
func (r *room) has(size int64) bool {
	for _, folder := range r.folders {
		if free, known := dbfile.FreeSpace(folder); known && free < size {
			return false
		}
	}
	return true
}

// check returns ErrNoRoom if the file may not grow by size bytes.
func (r *room) check(size int64) error {
	for i, folder := range r.folders {
		free, known := dbfile.FreeSpace(folder)
		if known && free < size+r.leave[i] {
			return fmt.Errorf("%w: of %d MiB free in %s, %d are needed and %d are reserved for others", ErrNoRoom, free>>20, folder, size>>20, r.leave[i]>>20)
		}
		size = 0
	}
	return nil
}

// watch returns a context that ends when the disk space left falls to the reserve. The
// caller passes the restore's error to done, which explains it.
func (r *room) watch(ctx context.Context) (_ context.Context, done func(error) error) {
	ctx, cancel := context.WithCancelCause(ctx)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		tick := time.NewTicker(lookEvery)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			if err := r.check(0); err != nil {
				cancel(err)
			}
		}
	}()
	return ctx, func(err error) error {
		cause := context.Cause(ctx)
		cancel(nil)
		<-ended
		if err != nil && errors.Is(cause, ErrNoRoom) {
			return cause
		}
		return err
	}
}
