package restore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/driftdb/driftdb-go/internal/digest"
	"github.com/driftdb/driftdb-go/internal/remote"
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
	if b.err == nil || !errors.Is(err, ErrBarrier) && !errors.Is(err, remote.ErrTooOld) {
		return err
	}
	return fmt.Errorf("%w; and the log cannot replace it: %v", b.err, err) // the result counts as damage
}

// base fetches the newest snapshot that is not past the target. It returns the position
// where the log continues and what is known of the tables there. Without a snapshot, the
// log must go back to the first change; the database is then empty, and nothing else is
// known.
//
// base skips a damaged snapshot. The log still reaches back to the snapshot before it for
// as long as that one is kept, and must lead to the same state.
func (j *job) base(ctx context.Context) (remote.Position, digest.Set, error) {
	for _, s := range slices.Backward(j.m.Snapshots) {
		if j.to.Sequence != 0 && s.Sequence > j.to.Sequence {
			continue
		}
		err := j.fetch(ctx, s, j.file)
		if err == nil {
			j.from, j.last = &s, s.LastTime()
			return remote.Position{Sequence: s.Sequence, Chain: s.Chain}, s.Digests, nil
		}
		if !remote.IsDamage(err) {
			return remote.Position{}, nil, err
		}
		if j.broken.err == nil {
			j.broken.err = err
		}
		j.broken.keys = append(j.broken.keys, s.Key)
	}
	return j.m.Genesis(), nil, nil
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
