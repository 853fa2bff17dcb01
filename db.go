package driftdb

import (
	"context"
	"database/sql"
	"errors"
	"fmt"

	"github.com/driftdb/driftdb-go/internal/engine"
	"github.com/driftdb/driftdb-go/internal/rows"
)

// DB is an open database. Many goroutines can call its methods at the same time.
type DB struct {
	engine      *engine.DB
	definitions rows.Definitions // since Open
}

// Open opens a database, and creates it if it is missing; see [Config]. It adopts a
// SQLite file that DriftDB has never seen: the bucket first gets a snapshot of it. If
// such a file has free pages, Open reads all of it first, and refuses it if it is damaged
// (ErrCorrupt).
//
// Open uses the disk. It asks the bucket when it has to restore and, unless ManualSync is
// set, whether the file is up to date. A file that is behind and has no changes of its
// own is updated, even while another writer is active. Open waits 0.6 s for the bucket to
// start answering, 3 s if DriftDB has never seen the file, and not at all if the bucket
// has not answered in the last few minutes; the comparison then runs in the background.
// If Open fails, it leaves the file as it was, and creates none. ctx limits only Open
// itself.
func Open(ctx context.Context, cfg Config) (*DB, error) {
	c, err := cfg.engine()
	if err != nil {
		return nil, fail(fmt.Errorf("open: %w", errors.Join(c.Problems(err)...)))
	}
	db, err := engine.Open(ctx, c)
	if err != nil {
		return nil, fail(err)
	}
	return &DB{engine: db}, nil
}

// Close closes the database. If sync runs in the background, it first sends what is
// pending, for at most Config.CloseTimeout, or 300 ms if the bucket has not answered in
// the last few minutes. It tries an endpoint that refuses the connection, or has no
// address, only once. What could not be sent stays in the file and is sent after the next
// Open; Close then closes the database too, and returns an [ErrUnsent] that says how much
// is left. With ManualSync, after StopSync, and with a negative CloseTimeout, Close uses
// no network.
//
// As soon as Close is called, nothing new can be committed, and every call returns
// [ErrClosed]. A statement, a commit or the function of a Tx that is already running gets
// half a second to finish. After that, statements are interrupted and transactions rolled
// back. In db.SQL(), Close waits only for running statements: it rolls open transactions
// back at once, and whatever the program still holds (sql.Tx, sql.Rows, sql.Stmt,
// sql.Conn) returns ErrClosed from then on. The same goes for loops over rows, and for
// ReadTx.
//
// When Close returns, no file is open and no goroutine is running. If the disk failed to
// take what was committed last, Close returns that error. A second call waits for the
// first and returns its result. In the function of a Tx, in OnEvent and in a
// Logger's handler, Close would wait for itself: there it returns an error, and the
// database stays open.
func (db *DB) Close() error { return fail(db.engine.Close()) }

// Shutdown is Close with a deadline of your own: it sends what is pending until ctx ends,
// even if sync is manual or stopped, and retries failures as Flush does.
func (db *DB) Shutdown(ctx context.Context) error { return fail(db.engine.Shutdown(ctx)) }

// Exec runs a script of one or more statements on the writer. Each statement gets all of
// args. A bool is bound as 0 or 1 and a time.Time as Unix milliseconds, the way
// repositories store them. Exec does not use the network.
func (db *DB) Exec(ctx context.Context, query string, args ...any) (sql.Result, error) {
	res, err := db.engine.Exec(ctx, query, args)
	return res, fail(err)
}

// SQL returns the database for use with database/sql and everything built on it. All its
// connections can write, and everything they commit is captured. Do not Close it: it is
// closed with the database, see [DB.Close].
//
// A transaction takes the write lock when it begins, and waits for it up to
// Config.BusyTimeout, so what it has read is still true when it writes. A transaction
// with sql.TxOptions{ReadOnly: true} takes no lock and never waits.
//
// Values are bound and read the way the driver modernc.org/sqlite does. A time.Time is
// stored as text that SQLite's date functions understand, such as "2006-01-02
// 15:04:05.999999999-07:00", not as Unix milliseconds as in a repository. It is read back
// as a time.Time from columns declared DATE, DATETIME or TIMESTAMP. SQLite compares it as
// text: store all times in one zone, preferably UTC.
func (db *DB) SQL() *sql.DB { return db.engine.SQL() }

// NodeID returns the ID under which this copy writes to the bucket.
func (db *DB) NodeID() string { return db.engine.NodeID() }

// Sequence returns the number of the last committed change.
func (db *DB) Sequence() int64 { return db.engine.Sequence() }

// IntegrityCheck has SQLite check the whole file, and returns ErrCorrupt if it is
// damaged. It reads the whole file from disk, so a large file takes long.
func (db *DB) IntegrityCheck(ctx context.Context) error { return fail(db.engine.Check(ctx)) }

// Vacuum rebuilds the file without its free pages. It needs as much free disk space as
// the database takes. The log cannot describe it, so a snapshot follows.
func (db *DB) Vacuum(ctx context.Context) error {
	_, err := db.Exec(ctx, "VACUUM")
	return err
}

// Format implements [fmt.Formatter]. It prints only the file's path: everything else in a
// database can change while it is being printed.
func (db *DB) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "driftdb.DB(%s)", db.engine.Path()) }
