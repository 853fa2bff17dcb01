// Package restore builds a database from a bucket: a snapshot, and the log
// after it, replayed and proven before the file is put in its place.
package restore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/driftdb/driftdb-go/internal/change"
	"github.com/driftdb/driftdb-go/internal/digest"
	"github.com/driftdb/driftdb-go/internal/remote"
	"github.com/driftdb/driftdb-go/internal/segment"
	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// ErrDamaged says that what was restored does not pass SQLite's own check.
var ErrDamaged = errors.New("the restored database is damaged")

// Options say what to restore, and to where.
type Options struct {
	Path      string
	Overwrite bool
	Target    remote.Target
	Branch    string // empty: the history
	Progress  func(Progress)
	// Finish is called with the proven database and its position before the
	// file is put in its place.
	Finish func(*sqlite.Conn, *remote.Manifest, remote.Position) error
}

// Stage says what a restore is doing.
type Stage string

// The stages, in their order.
const (
	Fetching  Stage = "snapshot" // Done and Total are bytes
	Replaying Stage = "replay"   // Done and Total are sequence numbers
	Checking  Stage = "check"
)

// Progress is how far a restore has come.
type Progress struct {
	Stage       Stage
	Done, Total int64 // Total is 0 when it is not known
}

// Result describes what was restored.
type Result struct {
	Sequence int64
	Time     int64 // Unix ms of the last transaction; 0 when it has none
	Rows     int64
	Bytes    int64
}

// Run restores the bucket's database to opts.Path. A file that is there already
// is fs.ErrExist, unless it may be overwritten. Until it succeeds there is
// nothing at Path, or what was there before.
func Run(ctx context.Context, b *remote.Bucket, opts Options) (Result, error) {
	if err := free(opts); err != nil {
		return Result{}, err
	}
	m, err := b.Manifest(ctx)
	if err != nil {
		return Result{}, err
	}
	dir, err := os.MkdirTemp(filepath.Dir(opts.Path), filepath.Base(opts.Path)+TempSuffix)
	if err != nil {
		return Result{}, fmt.Errorf("make room for the restore: %w", err)
	}
	defer os.RemoveAll(dir)
	history := m.Manifest
	if opts.Branch != "" {
		if history, err = b.Branch(ctx, history, opts.Branch); err != nil {
			return Result{}, err
		}
	}
	job := &job{b: b, m: history, opts: opts, file: filepath.Join(dir, "restored.sqlite")}
	res, err := job.build(ctx)
	if err != nil {
		return res, err
	}
	return res, place(job.file, opts)
}

// TempSuffix marks the folders that a restore works in, beside its target.
const TempSuffix = "-driftdb-restore"

func free(opts Options) error {
	_, err := os.Lstat(opts.Path)
	switch {
	case err == nil && !opts.Overwrite:
		return fmt.Errorf("%s: %w (choose another file, or say that it may be overwritten)", opts.Path, fs.ErrExist)
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return err
	}
	return nil
}

type job struct {
	b    *remote.Bucket
	m    *remote.Manifest
	opts Options
	file string
	last int64 // time of the last transaction
}

func (j *job) progress(stage Stage, done, total int64) {
	if j.opts.Progress != nil {
		j.opts.Progress(Progress{stage, done, total})
	}
}

func (j *job) build(ctx context.Context) (res Result, err error) {
	start, err := j.snapshot(ctx)
	if err != nil {
		return res, err
	}
	c, err := new(sqlite.Driver).Open(j.file, sqlite.Options{Synchronous: sqlite.SyncOff, KeepJournal: true, CacheKiB: 64 << 10})
	if err != nil {
		return res, err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	if err := c.Exec("PRAGMA journal_mode=MEMORY"); err != nil { // a crash leaves a file that nobody looks at
		return res, err
	}
	end, err := j.replay(ctx, c, start)
	if err != nil {
		return res, err
	}
	if res.Rows, err = j.check(ctx, c); err != nil {
		return res, err
	}
	if j.opts.Finish != nil {
		if err := j.opts.Finish(c, j.m, end); err != nil {
			return res, err
		}
	}
	pages, err := c.Int("PRAGMA page_count")
	if err != nil {
		return res, err
	}
	size, err := c.Int("PRAGMA page_size")
	res.Sequence, res.Time, res.Bytes = end.Sequence, j.last, pages*size
	return res, err
}

// snapshot fetches the newest snapshot that is not past the target, and
// returns where the log goes on from there. Without one the log has to go back
// to the first change.
func (j *job) snapshot(ctx context.Context) (remote.Position, error) {
	t := j.opts.Target
	for i := len(j.m.Snapshots) - 1; i >= 0; i-- {
		s := j.m.Snapshots[i]
		if t.Sequence != 0 && s.Sequence > t.Sequence || t.Time != 0 && s.Time > t.Time {
			continue
		}
		j.last = s.Time
		return remote.Position{Sequence: s.Sequence, Chain: s.Chain}, j.fetch(ctx, s)
	}
	return remote.Position{Chain: segment.Genesis(j.m.DatabaseID)}, nil
}

func (j *job) fetch(ctx context.Context, s remote.Snapshot) (err error) {
	body, err := j.b.OpenSnapshot(ctx, j.m.DatabaseID, s)
	if err != nil {
		return err
	}
	defer body.Close()
	f, err := os.OpenFile(j.file, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	_, err = io.Copy(f, &progressReader{r: body, report: func(n int64) { j.progress(Fetching, n, 0) }})
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

func (j *job) replay(ctx context.Context, c *sqlite.Conn, start remote.Position) (remote.Position, error) {
	r, err := NewReplay(c)
	if err != nil {
		return start, err
	}
	defer r.Close()
	sink := &sink{ctx: ctx, c: c, r: r, job: j}
	end, err := j.b.Walk(ctx, j.m, start, j.opts.Target, sink)
	if errors.Is(err, ErrBarrier) && sink.barrier > j.m.LatestSequence {
		// Nothing from there on is confirmed: its snapshot never came.
		end, err = j.b.Walk(ctx, j.m, end, remote.Target{Sequence: sink.barrier - 1, Time: j.opts.Target.Time}, sink)
	} else if errors.Is(err, ErrBarrier) {
		err = fmt.Errorf("%w: after sequence %d the log cannot be replayed; choose an earlier or a later point", err, sink.barrier-1)
	}
	if err != nil {
		return end, err
	}
	if end.Sequence == 0 && j.opts.Target != (remote.Target{}) { // the latest state may well be an empty database
		return end, fmt.Errorf("%w: the first change that it has is later", remote.ErrTooOld)
	}
	return end, nil
}

// sink applies each batch in a transaction of its own.
type sink struct {
	ctx  context.Context
	c    *sqlite.Conn
	r    *Replay
	job  *job
	time int64

	barrier int64 // where the replay could not go on
}

func (s *sink) Begin() error { return s.c.Exec("BEGIN") }

func (s *sink) Apply(rec *segment.Record) error {
	if rec.First {
		if err := s.ctx.Err(); err != nil {
			return err
		}
	}
	s.time = rec.Time
	if rec.Entry.Op == change.Barrier {
		s.barrier = rec.Sequence
	}
	return s.r.Apply(&rec.Entry)
}

func (s *sink) Commit(at remote.Position, _ digest.Report) error {
	if err := s.c.Exec("COMMIT"); err != nil {
		return err
	}
	s.job.last = s.time
	s.job.progress(Replaying, at.Sequence, s.job.m.LatestSequence)
	return nil
}

func (s *sink) Rollback() error {
	if s.c.Autocommit() {
		return nil
	}
	return s.c.Exec("ROLLBACK")
}

// check lets SQLite prove the file, and counts its rows.
func (j *job) check(ctx context.Context, c *sqlite.Conn) (rows int64, err error) {
	j.progress(Checking, 0, 0)
	stop := c.Watch(ctx)
	defer stop()
	var wrong []string
	err = c.Each("PRAGMA integrity_check(5)", func(st *sqlite.Stmt) error {
		if s := st.Text(0); s != "ok" {
			wrong = append(wrong, s)
		}
		return nil
	})
	if err != nil {
		return 0, err
	}
	if len(wrong) > 0 {
		return 0, fmt.Errorf("%w: %q", ErrDamaged, wrong)
	}
	var tables []string
	err = c.Each(`SELECT name FROM main.sqlite_schema WHERE type = 'table' AND rootpage > 0 AND name NOT LIKE 'sqlite\_%' ESCAPE '\'`, func(st *sqlite.Stmt) error {
		tables = append(tables, st.Text(0))
		return nil
	})
	for _, t := range tables {
		if err != nil {
			break
		}
		var n int64
		n, err = c.Int("SELECT count(*) FROM main." + quote(t))
		rows += n
	}
	return rows, err
}

// place moves the finished file to its place, so that a crash leaves either
// what was there before or all of the new database.
func place(file string, opts Options) error {
	if err := syncFile(file); err != nil {
		return err
	}
	if err := free(opts); err != nil {
		return err
	}
	// A WAL that another database left there would be taken for this one's.
	for _, suffix := range []string{"-wal", "-shm", "-journal"} {
		if err := os.Remove(opts.Path + suffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if err := os.Rename(file, opts.Path); err != nil {
		return err
	}
	return syncFolder(filepath.Dir(opts.Path))
}

func syncFile(path string) error {
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// TimeOf is ms as a time.
func TimeOf(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms)
}
