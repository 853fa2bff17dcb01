package engine

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"sync/atomic"
	"time"

	"github.com/driftdb/driftdb-go/internal/changelog"
	"github.com/driftdb/driftdb-go/internal/dbfile"
	"github.com/driftdb/driftdb-go/internal/foreign"
	"github.com/driftdb/driftdb-go/internal/remote"
	"github.com/driftdb/driftdb-go/internal/restore"
	"github.com/driftdb/driftdb-go/internal/sqlite"
	"github.com/driftdb/driftdb-go/internal/syncer"
)

// A follower's file is a DriftDB file like any other, with the role of a follower: its log is
// empty, because nothing is ever committed to it here, and its books say how far it has what
// the bucket confirms. So each state of it is the end of some batch, and whoever opens it next
// goes on from there. The database has all that an open one has, also the watch for other
// programs' writes, but no syncer; and its writer works for the engine alone.

var (
	// ErrNotFollower means that a file that is not a follower was to be followed into.
	ErrNotFollower = fmt.Errorf("%w, and is not a follower; it was left as it is: follow into another path, or move the file away", fs.ErrExist)
	// ErrFollows is ErrReadOnly for a follower's database.
	ErrFollows = errors.New("this database follows another one, and can only be read; write to that one, or promote this one (Follower.Promote, or driftdb promote)")
	// ErrKeptOpen means that a database was to be closed that is closed with its follower.
	ErrKeptOpen = errors.New("this database belongs to a follower, and is closed with it: call Follower.Close")
	// ErrOwnChanges means that a follower's file has been changed by something else.
	ErrOwnChanges = errors.New("another program has written to the follower's file")
)

// Following is a database that is kept up to date with its bucket. Its methods are for one
// goroutine, except those of DB.
type Following struct {
	db       *DB
	progress func(restore.Progress) // of restores, or nil
	fresh    bool                   // the file is restored anew, whatever it has

	sequence  atomic.Int64 // that readers see
	at        remote.Position
	confirmed int64 // at is confirmed up to here: less only after a promotion that failed
	barrier   int64
	last      time.Time // of the last change, by its writer's clock
	digests   changelog.Digests
	altered   error // why the file is not what the bucket said; nil: it is
}

// FollowOptions say how to open a follower's file.
type FollowOptions struct {
	Bucket   *remote.Bucket
	Progress func(restore.Progress) // of restores, or nil
	// Fresh replaces the file, which must be a follower's, by a restored one.
	Fresh bool
}

// Follow opens a follower's file, and restores a missing one first.
func Follow(ctx context.Context, cfg Config, opts FollowOptions) (*Following, error) {
	cfg, err := cfg.normalize()
	if err != nil {
		return nil, fmt.Errorf("follow: %w", err)
	}
	cfg.ManualSync, cfg.AutoRestore, cfg.CloseTimeout = true, true, -1
	o := &opening{DB: newDB(ctx, cfg)}
	f := &Following{db: o.DB, progress: opts.Progress, fresh: opts.Fresh}
	o.following, o.uplink.bucket = f, opts.Bucket
	if _, err := o.open(ctx); err != nil {
		return nil, err
	}
	if err := f.load(); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// progressing is what restores report to; f may be nil.
func (f *Following) progressing() func(restore.Progress) {
	if f == nil {
		return nil
	}
	return f.progress
}

// Close closes the database.
func (f *Following) Close() error { return f.db.close(func() error { return nil }) }

// DB is the database, for reading.
func (f *Following) DB() *DB { return f.db }

// Identity is that of the file.
func (f *Following) Identity() changelog.Identity { return f.db.id }

// At is the position that the database has.
func (f *Following) At() remote.Position { return f.at }

// LastChange is the time of the last change, by its writer's clock; zero if there is none.
func (f *Following) LastChange() time.Time { return f.last }

// Seen is the position as a point that the bucket has confirmed, or the zero value if it may
// not have.
func (f *Following) Seen() remote.Point {
	if f.at.Sequence == 0 || f.confirmed < f.at.Sequence {
		return remote.Point{}
	}
	return remote.Point{Position: f.at}
}

// load reads how far the file is.
func (f *Following) load() error {
	log := f.db.uplink.logs
	books, err := log.Books()
	if err != nil {
		return err
	}
	if f.digests, err = log.Digests(); err != nil {
		return err
	}
	end, err := log.Last()
	if err != nil {
		return err
	}
	last, err := log.LastTime()
	if err != nil {
		return err
	}
	f.at, f.confirmed, f.barrier = remote.Position{Sequence: books.Acked, Chain: books.Chain}, books.Confirmed, books.Barrier
	f.last, f.altered = restore.TimeOf(last), nil
	if end != books.Acked { // the watch has put a barrier there
		f.altered = ErrOwnChanges
	}
	f.show()
	return nil
}

// show makes the position known to those who wait for it.
func (f *Following) show() {
	f.sequence.Store(f.at.Sequence)
	f.db.hub.Advance(f.at.Sequence)
	f.db.Wake()
}

// Altered is why the file is not at a point of the bucket's history: then it can only be
// rebased. Otherwise it is nil. The watch finds out what other programs have written.
func (f *Following) Altered() error {
	if end, err := f.db.uplink.logs.Last(); err == nil && end != f.at.Sequence {
		f.altered = ErrOwnChanges
	}
	return f.altered
}

// CatchUp replays what m confirms beyond the file, batch by batch, each in one transaction
// with the books. After an error, the database is at the end of some batch.
// restore.ErrCannotCatchUp and ErrOwnChanges mean that only Rebase can go on. applied is
// called after each batch.
func (f *Following) CatchUp(ctx context.Context, m *remote.Manifest, applied func(changes int64)) (err error) {
	db := f.db
	if err := db.foreign.CheckFile(); err != nil {
		return err
	}
	if f.altered != nil {
		return f.altered
	}
	conn, err := db.openReplaying()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	_, err = restore.CatchUp{
		Bucket: db.uplink.bucket, Manifest: m, Conn: conn, From: f.at, Confirmed: true,
		Digests: f.digests, Known: maps.Clone(f.digests.Known),
		Books:     func(at remote.Position) changelog.Books { return syncer.BooksAt(m, at, f.barrier) },
		StandBack: db.writer.StandBack,
		Moved: func(b changelog.Books, d changelog.Digests) {
			changes := b.Acked - f.at.Sequence
			f.at, f.confirmed, f.digests = remote.Position{Sequence: b.Acked, Chain: b.Chain}, b.Confirmed, d
			f.show()
			applied(changes)
		},
	}.Run(ctx)
	if last, lerr := db.uplink.logs.LastTime(); lerr == nil {
		f.last = restore.TimeOf(last)
	}
	if errors.Is(err, changelog.ErrOvertaken) || sqlite.IsBypassed(err) {
		f.altered = fmt.Errorf("%w: %w", ErrOwnChanges, err)
		err = f.altered
	}
	return err
}

// openReplaying opens a connection on which the bucket's changes are replayed.
func (db *DB) openReplaying() (*sqlite.Conn, error) {
	opts := db.options()
	opts.Synchronous, opts.ForeignKeys, opts.Distrust = sqlite.SyncFull, false, true
	return sqlite.Open(db.path, opts)
}

// Rebase makes the database what m confirms, from a snapshot: for what the log cannot bring
// up to date. It restores a copy beside the file, proves it, and copies it over the open file
// in one transaction, with identity, books and role; readers see the old state or the new.
// However it ends, the file has one of the two. It needs twice the room of the database for
// that time. sqlite.ErrOtherPages: the file must be closed and restored anew, with Fresh.
func (f *Following) Rebase(ctx context.Context, m *remote.Manifest) (err error) {
	db := f.db
	if err := db.foreign.CheckFile(); err != nil {
		return err
	}
	beside, err := dbfile.TakeBeside(db.path)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, beside.Release()) }()
	res, err := restore.Run(ctx, db.uplink.bucket, restore.Options{
		File: beside, Overwrite: true, Manifest: m, Confirmed: true, Seen: f.Seen(),
		Progress: f.progress, OnConnect: db.conns.onConnect, Finish: continued(db.id.NodeID, true),
	})
	if err != nil {
		return err
	}
	res.Log(db.cfg.Log)
	release, err := db.writer.StandBack(ctx)
	if err != nil {
		return err
	}
	defer release()
	conn, err := db.openReplaying()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	if err := expectReplace(conn, beside.Path()); err != nil {
		return err
	}
	if err := conn.Replace(ctx, beside.Path()); err != nil {
		return fmt.Errorf("put a restored copy in the place of what the follower has: %w", err)
	}
	return f.load()
}

// expectReplace makes the log of the copy at path say which number the schema will have when
// the copy has replaced conn's database. Otherwise the next look would take the new number
// for another program's change.
func expectReplace(conn *sqlite.Conn, path string) (err error) {
	cookie, err := conn.SchemaAfterReplace()
	if err != nil {
		return err
	}
	c, err := new(sqlite.Driver).Open(path, sqlite.Options{MustExist: true, KeepJournal: true, Synchronous: sqlite.SyncOff})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	return changelog.ExpectSchema(c, cookie)
}

// proveFollower finds out whether the file is as it was left, if need be by reading all of it.
// If it is not, adopt puts a barrier into its log.
func (o *opening) proveFollower(ctx context.Context) error {
	unchanged, err := o.found.traces.AsLeft(o.first)
	if err != nil || unchanged {
		return err
	}
	err = foreign.Prove(ctx, o.first)
	o.proven = err == nil
	if errors.Is(err, foreign.ErrUnproven) {
		return nil
	}
	return err
}

// isFollower compares the file's role with what it is opened for.
func (o *opening) isFollower() error {
	switch is := o.found.id.Follower; {
	case is && o.following == nil && !o.cfg.Promote:
		return changelog.ErrFollower
	case !is && o.following != nil:
		return ErrNotFollower
	}
	return nil
}
