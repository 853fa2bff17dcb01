package syncer

import (
	"context"
	"errors"
	"fmt"

	"github.com/driftdb/driftdb-go/internal/change"
	"github.com/driftdb/driftdb-go/internal/changelog"
	"github.com/driftdb/driftdb-go/internal/digest"
	"github.com/driftdb/driftdb-go/internal/remote"
	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// state is what the parts of the engine share: the file's log, the books of what the
// bucket has of it, and the name under which this session stores. Only record changes the
// books. Everything but the status may be used only by the holder of the token.
type state struct {
	cfg   Config
	log   *changelog.Log
	token chan struct{}   // full while somebody works; capacity 1
	wake  chan struct{}   // signals that there may be something to do; capacity 1
	life  context.Context // ends with Close

	books    changelog.Books
	digests  changelog.Digests // of the tables after books.Acked
	unsaved  unsaved           // what could not be saved in the file, whose disk is full
	unsummed bool              // there may be tables without a digest
	vouched  remote.Position   // up to here the history keeps what this session has stored, whoever takes over

	session session
	broken  error // why syncing has stopped for good: fenced, diverged, held

	status  status
	waiters waiters
}

func newState(cfg Config, life context.Context) (s *state, err error) {
	s = &state{cfg: cfg, log: cfg.Log, token: make(chan struct{}, 1), wake: make(chan struct{}, 1), life: life}
	if s.books, err = cfg.Log.Books(); err != nil {
		return nil, err
	}
	if s.digests, err = cfg.Log.Digests(); err != nil {
		return nil, err
	}
	s.unsummed, s.unsaved.digests = true, s.digests
	s.status.acked.Store(s.books.Acked)
	s.status.confirmed.Store(s.books.Confirmed)
	s.status.mine.Store(s.mine())
	s.status.safe.Store(s.safe())
	return s, nil
}

// session is the epoch and node under which batches are stored.
type session struct {
	epoch int64 // 0: none yet
	node  string
}

// Wake signals that something was committed. It never blocks.
func (s *state) Wake() {
	select {
	case s.wake <- struct{}{}:
	default:
	}
}

// apart runs fn, which takes long and does not use the state, without the caller's token:
// other rounds can run meanwhile, so all of the state may have changed afterwards. It
// reports whether this session still is the writer, under the same epoch.
func (s *state) apart(fn func()) (same bool) {
	before := s.session
	<-s.token
	defer func() {
		s.token <- struct{}{} // without an end: the caller gives it up once more
		same = s.session == before && s.broken == nil
	}()
	fn()
	return
}

// bound returns a context that ends with ctx or the engine, whichever ends first.
func (s *state) bound(ctx context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(s.life, func() { cancel(ErrClosed) })
	return ctx, func() { stop(); cancel(nil) }
}

// mine reports whether the newest changes that the bucket has of this file's log were
// stored by sessions of this file.
func (s *state) mine() bool { return s.session.epoch != 0 || s.books.Manifest != "" }

// safe returns the sequence up to which the bucket keeps this file's changes, whoever
// takes over: those that a manifest confirms, or that this session has vouched for. What
// it has only found in the bucket is not safe: a session that is taking over may have
// looked before that was stored.
func (s *state) safe() int64 { return max(s.books.Confirmed, s.vouched.Sequence) }

// arrived tells the callers of WaitSynced what is safe now.
func (s *state) arrived() {
	s.status.safe.Store(s.safe())
	s.waiters.serve(s.safe())
}

// unconfirmed reports whether sessions of this file have stored changes that no manifest
// confirms. Changes that this file has from other writers are theirs to confirm.
func (s *state) unconfirmed() bool {
	return s.books.Confirmed < s.books.Acked && s.mine()
}

func (s *state) pending() int64 { return s.cfg.Sequence() - s.books.Acked }

// cursor is where a batch begins: the state of the books once all batches before it have
// been acknowledged.
type cursor struct {
	remote.Position
	barrier  int64
	digests  changelog.Digests
	earliest int64 // the smallest time in the batch before it
}

// here returns the cursor after everything that has been acknowledged.
func (s *state) here() cursor {
	return cursor{Position: remote.Position{Sequence: s.books.Acked, Chain: s.books.Chain}, barrier: s.books.Barrier, digests: s.digests}
}

// follow reads the log after sequence after, up to sequence to. It sets barrier to the
// last barrier, and brings the digests in known forward.
func (s *state) follow(to, after int64, barrier *int64, known digest.Set) error {
	return s.log.Between(after+1, to, func(t changelog.Transaction) error {
		return s.log.Entries(t, func(sequence int64, e *change.Entry) error {
			known.Apply(e)
			switch e.Op {
			case change.Barrier:
				*barrier, s.unsummed = sequence, true
			case change.Schema:
				s.unsummed = true
			}
			return nil
		})
	})
}

// steps repeats a small transaction until there is nothing left to do.
func (s *state) steps(ctx context.Context, step func() (more bool, err error)) error {
	for more := true; more && ctx.Err() == nil; {
		err := s.commit(ctx, func() (err error) {
			more, err = step()
			return err
		})
		if err != nil {
			return fmt.Errorf("trim the log: %w", err)
		}
	}
	return nil
}

// commit runs fn, which commits to DriftDB's tables, while the database's writer stands
// back. The wait for another program's lock ends with ctx.
func (s *state) commit(ctx context.Context, fn func() error) error {
	release, err := s.cfg.StandBack(ctx)
	if err != nil {
		return err
	}
	defer release()
	stop := s.log.Watch(ctx)
	defer stop()
	if err = fn(); ctx.Err() != nil && sqlite.Stopped(err) {
		return context.Cause(ctx)
	}
	return err
}

// stop ends syncing for good: this session must not continue the bucket's history. The
// first reason is kept.
func (s *state) stop(err error) error {
	if s.broken == nil {
		s.broken = err
		s.status.lastErr.Store(&err)
		s.status.fenced.Store(errors.Is(err, ErrFenced))
		s.cfg.Refuse(err)
	}
	return err
}

// fenced stops this session because another writer has taken over the history.
func (s *state) fenced(cause error) error {
	if errors.Is(cause, remote.ErrDeleted) {
		_, err := s.cfg.Bucket.Sweep(s.life) // what this session has stored since
		cause = errors.Join(cause, err)
		return s.stop(fmt.Errorf("%w: %w. The file has everything; to go on with it, Detach it and open it under another name", ErrFenced, cause))
	}
	return s.stop(fmt.Errorf("%w: %w. This session's changes are in this file and, if the bucket can be reached, in its branch %s. To merge them into the history, close the file and run driftdb resolve, or call Resolve",
		ErrFenced, cause, remote.Branch{NodeID: s.session.node, Epoch: s.session.epoch}.ID()))
}

// measure records in m how large the file has been.
func (s *state) measure(m *remote.Manifest) error {
	pages, size, err := s.log.Largest()
	m.Grow(remote.Extent{Pages: pages, PageSize: size})
	return err
}
