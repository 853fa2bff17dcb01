package restore

import (
	"context"
	"errors"
	"fmt"
	"maps"

	"github.com/driftdb/driftdb-go/internal/apply"
	"github.com/driftdb/driftdb-go/internal/batch"
	"github.com/driftdb/driftdb-go/internal/change"
	"github.com/driftdb/driftdb-go/internal/changelog"
	"github.com/driftdb/driftdb-go/internal/digest"
	"github.com/driftdb/driftdb-go/internal/remote"
	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// ErrCannotCatchUp means that a database is behind its bucket and has no changes of its
// own, but that the log alone cannot bring it up to date. A restore can, because it
// begins with a snapshot.
var ErrCannotCatchUp = errors.New("the file is behind the bucket, and the log cannot bring it up to date")

var errReplay = errors.New("a change cannot be replayed")

// CatchUp replays on an open database what the bucket has beyond it, batch by batch. Each
// batch is verified, replayed and recorded in one transaction. Readers thus see whole
// batches, and a crash leaves the file at the end of one.
type CatchUp struct {
	Bucket   *remote.Bucket
	Manifest *remote.Manifest
	// Conn is a connection with synchronous=FULL that is used for nothing else, then or
	// later.
	Conn *sqlite.Conn
	// From is the database's position: the end of its log, all of which is in the
	// bucket.
	From remote.Position
	// Confirmed makes it stop at what the manifest confirms, which no takeover takes back.
	Confirmed bool
	// Digests holds the digests in the file, and Known those after From.
	Digests changelog.Digests
	Known   digest.Set
	// Books returns the books to write to the file when it reaches at.
	Books func(at remote.Position) changelog.Books
	// StandBack blocks the database's writers until release is called.
	StandBack func(context.Context) (release func(), err error)
	// Moved is called when a batch is committed, before the writers are released.
	Moved func(changelog.Books, changelog.Digests)
}

// Run replays up to the last restorable point and returns the position reached. After an
// error the database is at the end of some batch. ErrCannotCatchUp means that it cannot
// advance further this way; changelog.ErrOvertaken means that the database now has
// changes of its own.
func (u CatchUp) Run(ctx context.Context) (_ remote.Position, err error) {
	path, err := u.Conn.Text("SELECT file FROM pragma_database_list WHERE name = 'main'")
	if err != nil {
		return u.From, err
	}
	room := newRoom(path)
	ctx, done := room.watch(ctx)
	defer func() { err = done(err) }()
	r, err := apply.NewReplay(u.Conn)
	if err != nil {
		return u.From, err
	}
	defer r.Close()
	defer u.Conn.Watch(ctx)()
	s := &forward{CatchUp: u, ctx: ctx, r: r, proof: newProof(u.Known), at: u.From}
	if s.grown, err = bound(u.Conn, u.Manifest, room); err != nil {
		return u.From, err
	}
	defer s.proof.Close()
	err = s.walk(ctx)
	switch {
	case err == nil:
	case ctx.Err() != nil: // the error may look like SQLite's interrupt
		err = fmt.Errorf("%w: %w", context.Cause(ctx), err)
	case errors.Is(err, errReplay), errors.Is(err, ErrBarrier), errors.Is(err, remote.ErrTooOld), remote.IsDamage(err):
		err = fmt.Errorf("%w: after change %d: %w", ErrCannotCatchUp, s.at.Sequence, missing(err))
	default:
		err = fmt.Errorf("catch up with the bucket after change %d: %w", s.at.Sequence, err)
	}
	return s.at, err
}

// forward is the sink that replays batches on the open database.
type forward struct {
	CatchUp
	ctx     context.Context
	r       *apply.Replay
	proof   *proof
	at      remote.Position
	time    int64
	barrier int64 // where the log could not be replayed
	release func()
	grown   func(error) error
}

func (s *forward) walk(ctx context.Context) error {
	if s.CatchUp.Confirmed {
		if s.Manifest.LatestSequence <= s.at.Sequence { // and 0 would be no target
			return nil
		}
		_, err := s.Bucket.Walk(ctx, s.Manifest, s.at, remote.Target{Sequence: s.Manifest.LatestSequence}, s)
		return err
	}
	_, err := s.Bucket.Walk(ctx, s.Manifest, s.at, remote.Target{}, s)
	if !errors.Is(err, ErrBarrier) || s.barrier <= s.Manifest.LatestSequence {
		return err
	}
	// Nothing from the barrier on is confirmed: its snapshot was never stored.
	if before := s.barrier - 1; before > s.at.Sequence {
		_, err = s.Bucket.Walk(ctx, s.Manifest, s.at, remote.Target{Sequence: before}, s)
		return err
	}
	return nil
}

func (s *forward) Begin() (err error) {
	if s.release, err = s.StandBack(s.ctx); err != nil {
		return err
	}
	s.proof.begin()
	if err = s.Conn.Exec("BEGIN IMMEDIATE"); err == nil {
		err = changelog.Expect(s.Conn, s.at.Sequence)
	}
	if err != nil {
		err = errors.Join(err, s.Rollback())
	}
	return err
}

func (s *forward) Apply(rec *batch.Record) error {
	if rec.First {
		if err := s.ctx.Err(); err != nil {
			return err
		}
	}
	s.time = rec.Time
	if rec.Entry.Op == change.Barrier {
		s.barrier = rec.Sequence
	}
	if err := s.grown(s.r.Apply(&rec.Entry)); err != nil {
		if !passes(err) {
			err = fmt.Errorf("%w: %w", errReplay, err)
		}
		return err
	}
	s.proof.Apply(&rec.Entry)
	return nil
}

// passes reports whether err is temporary, so that the same call may succeed later.
func passes(err error) bool {
	return !errors.Is(err, apply.ErrForged) && (sqlite.IsFull(err) || sqlite.IsBusy(err) || sqlite.IsInterrupted(err))
}

func (s *forward) Commit(at remote.Position, said digest.Report) error {
	if err := s.proof.agree(at.Sequence, said); err != nil {
		return err
	}
	books, digests := s.Books(at), changelog.Digests{Known: maps.Clone(s.proof.Set()), Told: digest.Set{}}
	if err := changelog.Advance(s.Conn, books, s.time, s.Digests, digests); err != nil {
		return err
	}
	if err := s.Conn.Exec("COMMIT"); err != nil {
		return err
	}
	s.at, s.Digests = at, digests
	s.Moved(books, digests)
	s.release()
	return nil
}

func (s *forward) Rollback() error {
	defer s.release()
	s.proof.rollback()
	return s.Conn.Rollback()
}
