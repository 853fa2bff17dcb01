package driftdb

import (
	"database/sql"
	"errors"
	"iter"
	"strings"

	"github.com/driftdb/driftdb-go/internal/backup"
	"github.com/driftdb/driftdb-go/internal/batch"
	"github.com/driftdb/driftdb-go/internal/changelog"
	"github.com/driftdb/driftdb-go/internal/consume"
	"github.com/driftdb/driftdb-go/internal/dbfile"
	"github.com/driftdb/driftdb-go/internal/engine"
	"github.com/driftdb/driftdb-go/internal/follow"
	"github.com/driftdb/driftdb-go/internal/foreign"
	"github.com/driftdb/driftdb-go/internal/history"
	"github.com/driftdb/driftdb-go/internal/remote"
	"github.com/driftdb/driftdb-go/internal/repair"
	"github.com/driftdb/driftdb-go/internal/resolve"
	"github.com/driftdb/driftdb-go/internal/restore"
	"github.com/driftdb/driftdb-go/internal/rows"
	"github.com/driftdb/driftdb-go/internal/seal"
	"github.com/driftdb/driftdb-go/internal/sqlite"
	"github.com/driftdb/driftdb-go/internal/syncer"
	"github.com/driftdb/driftdb-go/internal/undo"
	"github.com/driftdb/driftdb-go/internal/writer"
	lib "modernc.org/sqlite/lib"
)

// The errors to compare with [errors.Is].
var (
	// ErrNotFound: no row matches. It is also sql.ErrNoRows.
	ErrNotFound error = notFoundError{}
	// ErrClosed: the database has been closed.
	ErrClosed = errors.New("driftdb: the database is closed")
	// ErrReadOnly: a write where only reads are possible.
	ErrReadOnly = errors.New("driftdb: this connection only reads; write through Exec, Tx or a repository")
	// ErrEmptyWhere: an Update or Delete got an empty Where. To change every row, use
	// [All].
	ErrEmptyWhere = errors.New("driftdb: the Where is empty; use driftdb.All to mean every row")
	// ErrLocked: another process, or another Open in this one, has the file open; or
	// another node writes to the database, and RefuseTakeover is set.
	ErrLocked = errors.New("driftdb: the database is open elsewhere")
	// ErrNoBackup: the bucket has no backup under this name, or not the branch or the
	// point in time that was asked for, or no longer has it.
	ErrNoBackup = errors.New("driftdb: no backup found")
	// ErrCorrupt: a file or a bucket is damaged.
	ErrCorrupt = errors.New("driftdb: data is damaged")
	// ErrRolledBack: a backup has less than it had before, see RestoreOptions.Seen; or a
	// consumer has handled changes that are not in the database's history, see
	// [DB.Consume].
	ErrRolledBack = errors.New("driftdb: the backup has gone back")
	// ErrNoStore: no store is configured, so there is no sync and no backup.
	ErrNoStore = errors.New("driftdb: there is no store; set S3 or Store in the configuration")
	// ErrKey: an encryption key is wrong or missing.
	ErrKey = errors.New("driftdb: wrong or missing encryption key")
	// ErrVersion: a newer version of DriftDB wrote this.
	ErrVersion = errors.New("driftdb: written by a newer version of DriftDB")
	// ErrFenced: another writer has taken over the database's name. What this writer had
	// not sent is still in its file; [Resolve] merges it into the history.
	ErrFenced = errors.New("driftdb: another writer has taken over")
	// ErrFileReplaced: while the database was open, its file, or one that SQLite keeps
	// beside it, was replaced, moved or deleted. Writes are refused, because they would
	// be lost.
	ErrFileReplaced = errors.New("driftdb: the database file is not the one that was opened")
	// ErrDiverged: the file does not continue the history in the bucket. [Resolve] merges
	// the two.
	ErrDiverged = errors.New("driftdb: the file and the bucket have diverged")
	// ErrUnsent: Close or Shutdown could not send everything that was committed. The rest
	// is in the file, and is sent after the next Open.
	ErrUnsent = errors.New("driftdb: not all changes are in the bucket yet")
	// ErrConflict: changes in the file and in the bucket conflict, and no side was
	// chosen ([Resolve]); or what is to be undone has been changed since ([DB.Undo]).
	// Nothing was changed.
	ErrConflict = errors.New("driftdb: there are conflicts")
)

// Error is SQLite's own error, whichever call returned it: a repository, Exec, Select,
// Tx, ReadTx, SQL or IntegrityCheck. Get it with [errors.As]:
//
//	var e *driftdb.Error
//	if errors.As(err, &e) && e.Code == 5 { // SQLITE_BUSY
//
// Code is SQLite's result code, and ExtendedCode its more detailed form: 19 and 2067 for
// a UNIQUE constraint; see https://sqlite.org/rescode.html. Message is SQLite's own text,
// and names what it is about. Errors from SQL also wrap the driver's error, a
// *sqlite.Error of modernc.org/sqlite.
type Error = sqlite.Error

type notFoundError struct{}

func (notFoundError) Error() string        { return "driftdb: no such row" }
func (notFoundError) Is(target error) bool { return target == sql.ErrNoRows }

// public maps the errors of internal packages to public ones, in the order of the search:
// a wrong key explains what also looks like damage.
var public = []struct{ is, as error }{
	{seal.ErrKey, ErrKey},
	{syncer.ErrFenced, ErrFenced},
	{resolve.ErrConflict, ErrConflict},
	{undo.ErrConflict, ErrConflict},
	{resolve.ErrNoCommon, ErrNoBackup},
	{syncer.ErrDiverged, ErrDiverged},
	{syncer.ErrHeld, ErrLocked},
	{changelog.ErrVersion, ErrVersion},
	{remote.ErrVersion, ErrVersion},
	{batch.ErrVersion, ErrVersion},
	{seal.ErrVersion, ErrVersion},
	{remote.ErrRolledBack, ErrRolledBack},
	{consume.ErrAhead, ErrRolledBack},
	{remote.ErrNoBackup, ErrNoBackup},
	{remote.ErrGone, ErrNoBackup},
	{history.ErrGone, ErrNoBackup},
	{remote.ErrNoBranch, ErrNoBackup},
	{remote.ErrTooOld, ErrNoBackup},
	{restore.ErrNoPoint, ErrNoBackup},
	{remote.ErrNoFork, ErrNoBackup},
	{remote.ErrCorrupt, ErrCorrupt},
	{restore.ErrDamaged, ErrCorrupt},
	{repair.ErrDamaged, ErrCorrupt},
	{syncer.ErrMalformed, ErrCorrupt},
	{restore.ErrBarrier, ErrCorrupt},
	{seal.ErrCorrupt, ErrCorrupt},
	{seal.ErrPlaintext, ErrCorrupt},
	{batch.ErrCorrupt, ErrCorrupt},
	{dbfile.ErrLocked, ErrLocked},
	{dbfile.ErrReplaced, ErrFileReplaced},
	{foreign.ErrMixture, ErrFileReplaced},
	{syncer.ErrClosed, ErrClosed},
	{writer.ErrClosed, ErrClosed},
	{rows.ErrNotFound, ErrNotFound},
	{engine.ErrReadOnly, ErrReadOnly},
	{engine.ErrOpenedReadOnly, ErrReadOnly},
	{engine.ErrView, ErrReadOnly},
	{engine.ErrFollows, ErrReadOnly},
	{changelog.ErrFollower, ErrReadOnly},
	{follow.ErrOther, ErrDiverged},
	{engine.ErrDamaged, ErrCorrupt},
	{engine.ErrReplaced, ErrFileReplaced},
	{backup.ErrNoStore, ErrNoStore},
}

const ours = "driftdb: "

// failure is an error as users see it.
type failure struct {
	table string // "": about no table in particular
	err   error
	as    []error // the public errors that it also matches
}

// Error begins with "driftdb: ", and contains that only once, even if a wrapped error has
// it already.
func (f *failure) Error() string {
	said := strings.TrimPrefix(f.err.Error(), ours)
	return ours + place(f.table, "") + strings.ReplaceAll(said, ": "+ours, ": ")
}

func (f *failure) Unwrap() []error { return append([]error{f.err}, f.as...) }

// fail converts err for users. Every error that the package returns goes through fail or
// failAt, which makes it match the public errors. An error that has been converted before
// stays as it is.
func fail(err error) error { return failAt("", err) }

// failAt is fail for an operation on a table.
func failAt(table string, err error) error {
	if err == nil {
		return nil
	}
	if e := schemaError(table, err); e != nil {
		return e
	}
	if e := constraintError(table, err); e != nil {
		return e
	}
	as := publicOf(err)
	if len(as) == 0 && table == "" && strings.HasPrefix(err.Error(), ours) {
		return err
	}
	return &failure{table, err, as}
}

// publicOf returns the public errors that err means but does not match yet.
func publicOf(err error) (as []error) {
	if errors.Is(err, syncer.ErrUnsent) && !errors.Is(err, ErrUnsent) { // besides any other
		as = append(as, ErrUnsent)
	}
	if other := explanation(err); other != nil && !errors.Is(err, other) {
		as = append(as, other)
	}
	return as
}

// explanation returns the public error that explains err best, or nil.
func explanation(err error) error {
	for _, p := range public {
		if errors.Is(err, p.is) {
			return p.as
		}
	}
	switch code := sqlite.Code(err); {
	case code&0xff == lib.SQLITE_READONLY:
		return ErrReadOnly
	// A virtual table returns CORRUPT_VTAB if its rows are not what a statement expects.
	case sqlite.IsNotDatabase(err) && code != lib.SQLITE_CORRUPT_VTAB:
		return ErrCorrupt
	}
	return nil
}

// failing yields the same as seq, with errors converted by fail.
func failing[V any](seq iter.Seq2[V, error], fail func(error) error) iter.Seq2[V, error] {
	return func(yield func(V, error) bool) {
		for v, err := range seq {
			if !yield(v, fail(err)) {
				return
			}
		}
	}
}
