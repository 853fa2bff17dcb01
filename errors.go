package driftdb

import (
	"database/sql"
	"errors"
	"fmt"
	"strings"

	"github.com/driftdb/driftdb-go/internal/changelog"
	"github.com/driftdb/driftdb-go/internal/dbfile"
	"github.com/driftdb/driftdb-go/internal/remote"
	"github.com/driftdb/driftdb-go/internal/repair"
	"github.com/driftdb/driftdb-go/internal/resolve"
	"github.com/driftdb/driftdb-go/internal/restore"
	"github.com/driftdb/driftdb-go/internal/seal"
	"github.com/driftdb/driftdb-go/internal/segment"
	"github.com/driftdb/driftdb-go/internal/sqlite"
	"github.com/driftdb/driftdb-go/internal/syncer"
	lib "modernc.org/sqlite/lib"
)

// The errors to compare with [errors.Is].
var (
	// ErrNotFound: no row matches. It is also sql.ErrNoRows.
	ErrNotFound error = notFoundError{}
	// ErrClosed: the database has been closed.
	ErrClosed = errors.New("driftdb: the database is closed")
	// ErrReadOnly: a write where only reading is possible.
	ErrReadOnly = errors.New("driftdb: this connection only reads; write through Exec, Tx or a repository")
	// ErrEmptyWhere: an Update or Delete of every row has to be asked for with [All].
	ErrEmptyWhere = errors.New("driftdb: the Where is empty; use driftdb.All to mean every row")
	// ErrLocked: another process, or another Open in this one, has the file; or
	// another node writes the database, and RefuseTakeover is set.
	ErrLocked = errors.New("driftdb: the database is open elsewhere")
	// ErrNoBackup: the bucket has nothing under the name, or nothing any more, or not
	// the point in time, or the branch, that was asked for.
	ErrNoBackup = errors.New("driftdb: no backup found")
	// ErrCorrupt: a file or a bucket is damaged.
	ErrCorrupt = errors.New("driftdb: data is damaged")
	// ErrRolledBack: a backup shows less than it has shown before: see RestoreOptions.Seen.
	ErrRolledBack = errors.New("driftdb: the backup has gone back")
	// ErrNoStore: there is no store, so there is nothing to sync with, and no backup.
	ErrNoStore = errors.New("driftdb: there is no store; set S3 or Store in the configuration")
	// ErrKey: an encryption key is wrong or missing.
	ErrKey = errors.New("driftdb: wrong or missing encryption key")
	// ErrVersion: a newer version of DriftDB wrote this.
	ErrVersion = errors.New("driftdb: written by a newer version of DriftDB")
	// ErrFenced: another writer has taken over the database's name. What this
	// one had not sent yet is in its file; [Resolve] brings it into the history.
	ErrFenced = errors.New("driftdb: another writer has taken over")
	// ErrFileReplaced: while the database was open, its file or one that SQLite
	// keeps beside it was replaced, moved or deleted. Writes are refused, because
	// nobody would find them again.
	ErrFileReplaced = errors.New("driftdb: the database file is not the one that was opened")
	// ErrDiverged: the file does not continue the history that the bucket has.
	// [Resolve] brings the two together.
	ErrDiverged = errors.New("driftdb: the file and the bucket have diverged")
	// ErrUnsent: Close or Shutdown could not send all that was committed. It is in the
	// file, and sent after the next Open.
	ErrUnsent = errors.New("driftdb: not all changes are in the bucket yet")
	// ErrConflict: changes of the file and of the bucket do not go together, and nobody
	// has chosen a side. Nothing was changed. See [Resolve].
	ErrConflict = errors.New("driftdb: there are conflicts")
)

type notFoundError struct{}

func (notFoundError) Error() string        { return "driftdb: no such row" }
func (notFoundError) Is(target error) bool { return target == sql.ErrNoRows }

// public are the errors of the packages below, in the order in which they
// are looked for: a wrong key explains what also looks like damage.
var public = []struct{ is, as error }{
	{seal.ErrKey, ErrKey},
	{errNowhere, ErrNoStore},
	{syncer.ErrFenced, ErrFenced},
	{resolve.ErrConflict, ErrConflict},
	{resolve.ErrNoCommon, ErrNoBackup},
	{syncer.ErrDiverged, ErrDiverged},
	{syncer.ErrHeld, ErrLocked},
	{changelog.ErrVersion, ErrVersion},
	{remote.ErrVersion, ErrVersion},
	{segment.ErrVersion, ErrVersion},
	{seal.ErrVersion, ErrVersion},
	{remote.ErrRolledBack, ErrRolledBack},
	{remote.ErrNoBackup, ErrNoBackup},
	{remote.ErrGone, ErrNoBackup},
	{remote.ErrNoBranch, ErrNoBackup},
	{remote.ErrTooOld, ErrNoBackup},
	{restore.ErrNoPoint, ErrNoBackup},
	{remote.ErrCorrupt, ErrCorrupt},
	{restore.ErrDamaged, ErrCorrupt},
	{repair.ErrDamaged, ErrCorrupt},
	{syncer.ErrMalformed, ErrCorrupt},
	{restore.ErrBarrier, ErrCorrupt},
	{seal.ErrCorrupt, ErrCorrupt},
	{seal.ErrPlaintext, ErrCorrupt},
	{segment.ErrCorrupt, ErrCorrupt},
	{dbfile.ErrLocked, ErrLocked},
	{dbfile.ErrReplaced, ErrFileReplaced},
	{syncer.ErrClosed, ErrClosed},
}

// wrapped is an error of ours that is also one of the public ones.
type wrapped struct{ err, as error }

const ours = "driftdb: "

// Error begins with "driftdb: " once, whoever has put it there.
func (w wrapped) Error() string   { return ours + strings.TrimPrefix(w.err.Error(), ours) }
func (w wrapped) Unwrap() []error { return []error{w.err, w.as} }

// unsent is an error of Close that is also ErrUnsent, whatever else it is.
type unsent struct{ error }

func (u unsent) Unwrap() []error { return []error{u.error, ErrUnsent} }

// export makes err comparable with the public errors.
func export(err error) error {
	if err == nil {
		return nil
	}
	if errors.Is(err, syncer.ErrUnsent) && !errors.Is(err, ErrUnsent) {
		return export(unsent{err})
	}
	for _, p := range public {
		if errors.Is(err, p.is) && !errors.Is(err, p.as) {
			return wrapped{err, p.as}
		}
	}
	if sqlite.Code(err)&0xff == lib.SQLITE_READONLY && !errors.Is(err, ErrReadOnly) {
		return fmt.Errorf("%w: %w", ErrReadOnly, err)
	}
	// A virtual table says that of rows which are not what a statement takes them for.
	if sqlite.IsNotDatabase(err) && sqlite.Code(err) != lib.SQLITE_CORRUPT_VTAB && !errors.Is(err, ErrCorrupt) {
		return wrapped{err, ErrCorrupt}
	}
	if u, ok := err.(unsent); ok {
		return wrapped{u.error, ErrUnsent}
	}
	return err
}
