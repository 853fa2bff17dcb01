package restore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/driftdb/driftdb-go/internal/changelog"
	"github.com/driftdb/driftdb-go/internal/digest"
	"github.com/driftdb/driftdb-go/internal/remote"
	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// Target is the point to restore: a sequence, or a time in Unix ms. The zero value is the
// latest point.
type Target struct{ Sequence, Time int64 }

// locate finds the target's sequence.
func (j *job) locate(ctx context.Context) error {
	j.to.Sequence = j.opts.Target.Sequence
	if j.opts.Confirmed {
		j.to.Sequence = j.m.LatestSequence // 0: nothing is confirmed, see replay
	}
	if j.opts.Target.Time == 0 {
		return nil
	}
	sequence, refused, err := j.b.Locate(ctx, j.m, j.opts.Target.Time)
	j.to.Sequence = sequence
	j.refuse(refused)
	return err
}

// broken records the snapshots found damaged.
type broken struct {
	keys []string
	err  error // the first one's error
}

// explain adds to an error of the log that the log had to replace these snapshots, and
// why.
func (b broken) explain(err error) error {
	if b.err == nil || !errors.Is(err, ErrBarrier) && !errors.Is(err, remote.ErrTooOld) && !remote.IsDamage(err) {
		return err
	}
	return fmt.Errorf("%w; and the log cannot replace it: %v", b.err, err) // the result counts as damage
}

// base fetches the newest snapshot that is not past the target, and opens it. It returns the
// position where the log continues and what is known of the tables there. Without a snapshot,
// the log must go back to the first change; the database is then empty, and nothing else is
// known.
//
// base skips a damaged snapshot, and one that SQLite cannot read. The log still reaches back
// to the snapshot before it for as long as that one is kept, and must lead to the same state.
func (j *job) base(ctx context.Context) (*sqlite.Conn, remote.Position, digest.Set, error) {
	for _, s := range slices.Backward(j.m.Snapshots) {
		if j.to.Sequence != 0 && s.Sequence > j.to.Sequence {
			continue
		}
		c, err := j.begin(ctx, s)
		if err == nil {
			j.from, j.last = &s, s.LastTime()
			return c, remote.Position{Sequence: s.Sequence, Chain: s.Chain}, s.Digests, nil
		}
		if !remote.IsDamage(err) && !errors.Is(err, ErrDamaged) {
			return nil, remote.Position{}, nil, err
		}
		if j.broken.err == nil {
			j.broken.err = err
		}
		j.broken.keys = append(j.broken.keys, s.Key)
	}
	c, err := j.open(ctx)
	return c, j.m.Genesis(), nil, err
}

// begin fetches a snapshot and opens it.
func (j *job) begin(ctx context.Context, s remote.Snapshot) (*sqlite.Conn, error) {
	if err := j.fetch(ctx, s, j.file); err != nil {
		return nil, err
	}
	c, err := j.open(ctx)
	if err != nil {
		err = errors.Join(fmt.Errorf("snapshot %s: %w", s.Key, damaged(err)), os.Truncate(j.file, 0))
	}
	return c, err
}

// open opens the file for the replay, without DriftDB's own tables.
func (j *job) open(ctx context.Context) (*sqlite.Conn, error) {
	c, err := sqlite.Open(j.file, sqlite.Options{
		Distrust: true, Synchronous: sqlite.SyncOff, KeepJournal: true, CacheKiB: builderCacheKiB, OnConnect: j.opts.OnConnect,
	})
	if err != nil {
		return nil, err
	}
	stop := c.Watch(ctx)
	defer stop()
	// Journal to a file: a journal in memory would hold every page that a batch changes.
	if err = c.Exec("PRAGMA journal_mode=DELETE"); err == nil {
		err = strip(c)
	}
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

// strip drops DriftDB's own tables from a snapshot that is an exact copy of the live
// file.
func strip(c *sqlite.Conn) error {
	found, err := changelog.Exists(c)
	if err != nil || !found {
		return err
	}
	if err := changelog.Strip(c); err != nil {
		return err
	}
	return c.Exec("PRAGMA secure_delete=OFF") // the replay need not overwrite deleted data
}

// fetch overwrites the file at path with a snapshot's contents.
func (j *job) fetch(ctx context.Context, s remote.Snapshot, path string) (err error) {
	if err := j.room.check(s.Plain); err != nil {
		return err
	}
	body, err := j.b.OpenSnapshot(ctx, j.m, s)
	if err != nil {
		return err
	}
	defer body.Close()
	f, err := os.OpenFile(path, os.O_TRUNC|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer func() {
		if err = errors.Join(err, f.Close()); err != nil {
			err = errors.Join(err, os.Truncate(path, 0)) // the log may have to begin with an empty file
		}
	}()
	_, err = io.Copy(f, &progressReader{r: body, report: func(n int64) { j.progress(Fetching, n, s.Plain) }})
	return err
}

type progressReader struct {
	r      io.Reader
	n      int64
	report func(int64)
}

func (p *progressReader) Read(b []byte) (int, error) {
	n, err := p.r.Read(b)
	p.n += int64(n)
	p.report(p.n)
	return n, err
}
