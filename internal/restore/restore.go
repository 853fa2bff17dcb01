// Package restore builds a database from a bucket: a snapshot and the log
// after it, replayed and proven before the file is put in its place.
package restore

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/driftdb/driftdb-go/internal/apply"
	"github.com/driftdb/driftdb-go/internal/batch"
	"github.com/driftdb/driftdb-go/internal/change"
	"github.com/driftdb/driftdb-go/internal/check"
	"github.com/driftdb/driftdb-go/internal/dbfile"
	"github.com/driftdb/driftdb-go/internal/digest"
	"github.com/driftdb/driftdb-go/internal/event"
	"github.com/driftdb/driftdb-go/internal/remote"
	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// ErrBarrier means that the log cannot be replayed across a barrier.
var ErrBarrier = apply.ErrBarrier

var (
	// ErrDamaged means that the restored database does not hold the rows that the log
	// says, or that SQLite finds a fault in it that the source did not have.
	ErrDamaged = errors.New("the restored database is damaged")
	// ErrNoPoint means that the backup is intact but does not have the requested point:
	// it lies between a barrier and the next snapshot, or past the end of the history.
	ErrNoPoint = errors.New("this point cannot be restored")
	// ErrMissing means that this program lacks a function, a collation or a module that
	// the database needs.
	ErrMissing = errors.New("something that the database needs is not registered")
)

// Options says what to restore, and where to.
type Options struct {
	File      *dbfile.File // the path of the new database, taken (see dbfile.Take)
	Overwrite bool         // an existing database
	Keep      bool         // the database that is overwritten, until the next restore that keeps one
	Target    Target
	Confirmed bool             // of the latest point: only what the manifest confirms
	Branch    string           // empty: the main history
	Seen      remote.Point     // a point that the backup is known to have had
	Manifest  *remote.Manifest // of a history yet to be proven; nil: the bucket's manifest
	Progress  func(Progress)
	OnConnect func(*sqlite.Registrar) error // of the connection to the new file
	// Finish is called before the file is put in place, with the proven database, its
	// position, the time of its last change (Unix ms) and its tables' digests.
	Finish func(c *sqlite.Conn, m *remote.Manifest, at remote.Position, last int64, sums digest.Set) error
}

// Stage is what a restore is doing.
type Stage string

// The stages, in order.
const (
	Fetching  Stage = "snapshot" // Done and Total are bytes
	Replaying Stage = "replay"   // Done and Total are sequence numbers
	Checking  Stage = "check"    // Done and Total are rows
)

// Progress is how far a restore has got.
type Progress struct {
	Stage       Stage
	Done, Total int64 // Total is 0 if unknown
}

// Result describes what was restored.
type Result struct {
	Sequence int64
	Time     int64 // Unix ms, of the last transaction; 0 if there is none
	Rows     int64
	Bytes    int64
	Tables   int // how many were compared with digests
	// Damaged holds the keys of snapshots that were unusable. An older snapshot and the
	// log after it, or the whole log, gave the same result.
	Damaged []string
	// Refused lists unusable objects that are named like part of the history. Up to the
	// manifest's head, nothing was missing without them; past it, the history ended
	// before them.
	Refused []remote.Refusal
	// Confirmed is what the manifest of the main history confirms, even if a branch was
	// restored.
	Confirmed remote.Point
	// Kept is where the overwritten database is; "" if it is not kept.
	Kept string
	// Aside holds the new names of files that lay beside the database but did not belong
	// to it.
	Aside []string
	// ForeignKeyViolations is how many rows refer to a missing row. SQLite lets a source
	// have them while foreign_keys is off, so they are not damage: the restored database
	// is what the source was.
	ForeignKeyViolations int64
	// Faults lists the faults that the database has because the source had them, and
	// what this program cannot read of it.
	Faults []string
}

// Log warns of objects that the restore ignored and files that it set aside.
func (r Result) Log(log event.Log) {
	if len(r.Damaged) > 0 {
		log.Warn(event.SnapshotDamaged, "snapshots in the bucket are damaged; an older one, or the log, replaced them; a new one is needed", "damaged", r.Damaged)
	}
	remote.Warn(log, r.Refused)
	if len(r.Aside) > 0 {
		log.Warn(event.FilesSetAside, "files beside the database did not belong to it; they were set aside", "files", r.Aside)
	}
}

// Run restores the bucket's database to opts.File. If a file already exists there, Run
// fails with fs.ErrExist unless it may overwrite it. Until Run succeeds, the path has
// what was there before, or nothing.
func Run(ctx context.Context, b *remote.Bucket, opts Options) (res Result, err error) {
	if err := opts.File.Free(opts.Overwrite); err != nil {
		return res, err
	}
	m := opts.Manifest
	if m == nil {
		stored, err := b.Existing(ctx)
		if err != nil {
			return res, err
		}
		m = stored.Manifest
	}
	if err := b.Kept(ctx, m, opts.Seen); err != nil {
		return res, err
	}
	job := &job{b: b, m: m, opts: opts}
	if opts.Branch != "" {
		if job.m, job.branch, job.refused, err = b.Branch(ctx, m, opts.Branch); err != nil {
			return res, err
		}
	}
	work, err := dbfile.NewWork(opts.File.Path())
	if err != nil {
		return res, err
	}
	defer func() { err = errors.Join(err, work.Close()) }()
	job.file = work.Path()
	if err := job.locate(ctx); err != nil {
		return res, job.outside(ctx, err)
	}
	if res, err = job.build(ctx); err != nil {
		return res, job.outside(ctx, missing(noRoom(err, opts.File)))
	}
	res.Refused, res.Confirmed = job.refused, m.Point()
	replaced, err := opts.File.Replace(work, opts.Keep)
	res.Aside, res.Kept = replaced.Aside, replaced.Kept
	if err == nil && res.Kept != "" {
		opts.File.DropKept(res.Kept)
	}
	return res, err
}

type job struct {
	b      *remote.Bucket
	m      *remote.Manifest
	opts   Options
	to     remote.Target // of the walk
	file   string
	room   *room
	from   *remote.Snapshot // that the replay began with; nil if it began with an empty database
	last   int64            // time of the last transaction
	proof  *proof
	broken broken

	branch  remote.Branch // the restored branch, if it is one
	refused []remote.Refusal
}

func (j *job) progress(stage Stage, done, total int64) {
	if j.opts.Progress != nil {
		j.opts.Progress(Progress{stage, done, total})
	}
}

func (j *job) build(ctx context.Context) (res Result, err error) {
	j.room = newRoom(j.file)
	ctx, done := j.room.watch(ctx)
	defer func() { err = done(err) }()
	defer func() {
		if ctx.Err() != nil && sqlite.IsInterrupted(err) {
			err = context.Cause(ctx)
		}
	}()
	c, start, known, err := j.base(ctx)
	if err != nil {
		return res, err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	stop := c.Watch(ctx)
	defer stop()
	res.Damaged = j.broken.keys
	j.proof = newProof(known)
	defer j.proof.Close()
	grown, err := bound(c, j.m, j.room)
	if err != nil {
		return res, err
	}
	end, err := j.replay(ctx, c, start)
	if err = grown(err); err != nil {
		return res, damaged(j.broken.explain(err))
	}
	sums, err := j.check(ctx, c, end.Sequence, &res)
	if err != nil {
		return res, err
	}
	if j.opts.Finish != nil {
		if err := j.opts.Finish(c, j.m, end, j.last, sums); err != nil {
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

func (j *job) replay(ctx context.Context, c *sqlite.Conn, start remote.Position) (remote.Position, error) {
	r, err := apply.NewReplay(c)
	if err != nil {
		return start, err
	}
	defer r.Close()
	if j.opts.Confirmed && start.Sequence >= j.m.LatestSequence {
		return start, nil // without a target, the walk would go on to the tip
	}
	sink := &sink{ctx: ctx, c: c, r: r, job: j}
	end, err := j.b.Walk(ctx, j.m, start, j.to, sink)
	if errors.Is(err, ErrBarrier) && sink.barrier > j.m.LatestSequence {
		// Nothing from the barrier on is confirmed: its snapshot was never stored.
		j.refuse(end.Refused)
		end, err = j.b.Walk(ctx, j.m, end.Position, remote.Target{Sequence: sink.barrier - 1}, sink)
	} else if errors.Is(err, ErrBarrier) {
		if j.opts.Target != (Target{}) {
			err = fmt.Errorf("%w: %w", ErrNoPoint, err)
		}
		err = fmt.Errorf("%w: after sequence %d the log cannot be replayed; choose an earlier or a later point", err, sink.barrier-1)
	}
	if err != nil {
		return end.Position, err
	}
	j.refuse(end.Refused)
	if err := j.branched(end.Sequence); err != nil {
		return end.Position, err
	}
	if want := j.to.Sequence; end.Sequence < want && (!end.Reached || sink.barrier > 0) {
		return end.Position, fmt.Errorf("%w: sequence %d was asked for, and the history ends at %d%s", ErrNoPoint, want, end.Sequence, j.behind())
	}
	if end.Sequence == 0 && j.opts.Target != (Target{}) { // the latest state may well be an empty database
		return end.Position, fmt.Errorf("%w: its first change is later", remote.ErrTooOld)
	}
	return end.Position, nil
}

// branched returns an error if nothing of the requested branch was usable.
func (j *job) branched(end int64) error {
	from := j.branch.From // 0: the main history
	if end >= from || j.to.Sequence != 0 && j.to.Sequence < from || len(j.refused) == 0 {
		return nil
	}
	return fmt.Errorf("branch %s has nothing usable: %w", j.opts.Branch, j.refused[len(j.refused)-1].Err())
}

// behind tells what lies after the end of the history, if that is unusable.
func (j *job) behind() string {
	if len(j.refused) == 0 {
		return ""
	}
	return fmt.Sprintf(": what is behind cannot be used (%v)", j.refused[len(j.refused)-1].Err())
}

// refuse records what a walk refused. Two walks may refuse the same object.
func (j *job) refuse(refused []remote.Refusal) {
	for _, r := range refused {
		if !slices.ContainsFunc(j.refused, func(o remote.Refusal) bool { return o.Key == r.Key }) {
			j.refused = append(j.refused, r)
		}
	}
}

// MisfitError means that a change could not be replayed: it does not fit the database's
// contents, or SQLite failed.
type MisfitError struct{ error }

func (e MisfitError) Unwrap() error { return e.error }

// sink applies each batch in its own transaction.
type sink struct {
	ctx  context.Context
	c    *sqlite.Conn
	r    *apply.Replay
	job  *job
	time int64

	barrier int64 // where the replay could not go on
}

func (s *sink) Begin() error {
	s.job.proof.begin()
	return s.c.Exec("BEGIN")
}

func (s *sink) Apply(rec *batch.Record) error {
	if rec.First {
		if err := s.ctx.Err(); err != nil {
			return err
		}
	}
	s.time = rec.Time
	if rec.Entry.Op == change.Barrier {
		s.barrier = rec.Sequence
	}
	if err := s.r.Apply(&rec.Entry); err != nil {
		return MisfitError{err}
	}
	s.job.proof.Apply(&rec.Entry)
	return nil
}

func (s *sink) Commit(at remote.Position, said digest.Report) error {
	if err := s.job.proof.agree(at.Sequence, said); err != nil {
		return err
	}
	if err := s.c.Exec("COMMIT"); err != nil {
		return err
	}
	s.job.last = s.time
	s.job.progress(Replaying, at.Sequence, s.job.m.LatestSequence)
	return nil
}

func (s *sink) Rollback() error {
	s.job.proof.rollback()
	if s.c.Autocommit() {
		return nil
	}
	return s.c.Exec("ROLLBACK")
}

// check verifies the file: any fault in it was the source's, and its tables hold what the
// log says. It also counts the rows, and returns the digests.
func (j *job) check(ctx context.Context, c *sqlite.Conn, sequence int64, res *Result) (digest.Set, error) {
	j.progress(Checking, 0, 0)
	// The replay had to ignore constraints.
	if err := c.Exec("PRAGMA ignore_check_constraints=OFF"); err != nil {
		return nil, err
	}
	found, err := check.Run(ctx, c, check.Options{Open: j.another, Progress: func(done, total int64) { j.progress(Checking, done, total) }})
	if err != nil {
		return nil, damaged(err)
	}
	if err := j.judge(ctx, found); err != nil {
		return nil, err
	}
	res.Rows, res.ForeignKeyViolations = found.Rows, found.Violations
	res.Faults = check.List(check.ByTable(found.Faults))
	res.Tables, err = j.proof.verify(found, sequence)
	return found.Digests, err
}

// The page caches of the connections that build and check a file, 48 MiB together.
// SQLite's checks look up each row in each index; reading the rows goes through them
// once.
const (
	builderCacheKiB = 44 << 10
	readerCacheKiB  = 4 << 10
)

// another opens the restored file a second time, for reading beside the first connection,
// which has committed all its writes.
func (j *job) another() (*sqlite.Conn, error) {
	return new(sqlite.Driver).Open(j.file, sqlite.Options{MustExist: true, KeepJournal: true, QueryOnly: true, Distrust: true, CacheKiB: readerCacheKiB, OnConnect: j.opts.OnConnect})
}

// TimeOf converts Unix ms to a time; 0 is the zero time.
func TimeOf(ms int64) time.Time {
	if ms == 0 {
		return time.Time{}
	}
	return time.UnixMilli(ms)
}
