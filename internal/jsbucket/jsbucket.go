// Package jsbucket reads backups of the JavaScript package @mauryasumit/driftdb, and makes
// an SQLite database of one: its newest snapshot, and the batches of changes after it.
//
// That package logs what its repositories do, and neither the definitions of tables nor
// what other SQL writes. So a log does not always lead from a snapshot to the database; Run
// notices where it does not.
package jsbucket

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"time"

	"github.com/driftdb/driftdb-go/internal/check"
	"github.com/driftdb/driftdb-go/internal/dbfile"
	"github.com/driftdb/driftdb-go/internal/sqlite"
	"github.com/driftdb/driftdb-go/objstore"
)

var (
	// ErrNone means that the bucket has no backup of this kind under this name.
	ErrNone = errors.New("no backup of the JavaScript package found")
	// ErrDamaged means that an object is damaged, is missing, or contradicts another one.
	ErrDamaged = errors.New("the backup is damaged")
	// ErrKey means that the encryption key is wrong or missing.
	ErrKey = errors.New("wrong or missing encryption key")
	// ErrUnclear means that the log alone does not say what the database was.
	// Options.Partial accepts that.
	ErrUnclear = errors.New("the backup does not describe all of the database")
)

// Bucket is the part of an objstore.Store that reads: nothing here can write to a bucket.
type Bucket interface {
	Get(ctx context.Context, key string, opts objstore.GetOptions) (io.ReadCloser, objstore.Info, error)
	List(ctx context.Context, prefix string, opts objstore.ListOptions) iter.Seq2[objstore.Info, error]
}

// Options say what to read, and where to write it.
type Options struct {
	Name string   // of the database; "" if the bucket has only one
	Node string   // whose log to read; "" for the one that the manifest names
	Keys []string // 64 hex digits each; none if the backup is not encrypted

	Path      string // of the new file
	Overwrite bool

	// SnapshotOnly leaves the log out: the result is the newest snapshot, which is also
	// what the package itself restores.
	SnapshotOnly bool
	// Partial accepts what the log does not describe: tables without a snapshot are made
	// from their rows, and changes that find no row, or cannot be made, are left out. Each
	// is in Result.Notes.
	Partial bool

	// Progress is called after each batch with the last change so far and the last of all.
	// It may be nil.
	Progress func(done, total int64)
}

// Result describes the new database.
type Result struct {
	Name, Node string
	Others     []string  // nodes whose changes are not in it
	Snapshot   string    // the key of the snapshot that it began with; "" for none
	Base       int64     // the last change in the snapshot
	Sequence   int64     // the last change
	Time       time.Time // of that change, by its writer's clock; zero if none was replayed
	Batches    int       // that were read
	Tables     []Table   // by name
	Rows       int64     // in all of them
	Bytes      int64     // of the file
	Damaged    []string  // keys of snapshots that cannot be used; an older one and the log replaced them
	Notes      []string  // what Partial accepted, at most 100, and how many more
	Violations int64     // rows that refer to a missing row
	Kept       string    // where the file is that was replaced; "" if there was none
}

// Table is how many rows a table has.
type Table struct {
	Name string
	Rows int64
}

// Run makes the database. Until it succeeds, the path has what was there before, or
// nothing.
func Run(ctx context.Context, b Bucket, o Options) (res Result, err error) {
	keys, err := parseKeys(o.Keys)
	if err != nil {
		return res, err
	}
	file, err := dbfile.Take(o.Path)
	if err != nil {
		return res, err
	}
	defer func() { err = errors.Join(err, file.Abandon()) }()
	if err := file.Free(o.Overwrite); err != nil {
		return res, err
	}
	src, err := find(ctx, b, o.Name, o.Node)
	if err != nil {
		return res, err
	}
	work, err := dbfile.NewWork(file.Path())
	if err != nil {
		return res, err
	}
	defer func() { err = errors.Join(err, work.Close()) }()
	j := &job{ctx: ctx, bucket: b, keys: keys, opts: o, src: src, file: work.Path()}
	j.res.Name, j.res.Node, j.res.Others = src.name, src.node, src.others
	if err := j.build(); err != nil {
		return res, err
	}
	replaced, err := file.Replace(work, o.Overwrite)
	if j.res.Kept = replaced.Kept; err == nil && replaced.Kept != "" {
		file.DropKept(replaced.Kept)
	}
	return j.res, err
}

// job is one Run.
type job struct {
	ctx    context.Context
	bucket Bucket
	keys   [][]byte
	opts   Options
	src    source
	file   string
	c      *sqlite.Conn
	tables map[string]*table // that were looked up
	more   int               // notes beyond those in res
	res    Result
}

func (j *job) build() (err error) {
	if err := j.base(); err != nil {
		return err
	}
	if j.c, err = sqlite.Open(j.file, sqlite.Options{ForeignKeys: true, Distrust: true, KeepJournal: true, Synchronous: sqlite.SyncOff}); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, j.c.Close()) }()
	stop := j.c.Watch(j.ctx)
	defer func() {
		if stop(); j.ctx.Err() != nil && sqlite.IsInterrupted(err) {
			err = context.Cause(j.ctx)
		}
	}()
	if err := j.c.Exec("PRAGMA journal_mode=DELETE"); err != nil {
		return err
	}
	if err := j.startAt(); err != nil {
		return err
	}
	if !j.opts.SnapshotOnly {
		if err := j.replay(); err != nil {
			return err
		}
	}
	return j.finish()
}

// base fetches the newest snapshot that can be used.
func (j *job) base() error {
	none := "no snapshot that can be used"
	for i, key := range j.src.snapshots {
		err := j.fetchSnapshot(key)
		if err == nil {
			j.res.Snapshot = key
			return nil
		}
		if !errors.Is(err, ErrDamaged) {
			return err
		}
		j.res.Damaged = append(j.res.Damaged, key)
		if i == 0 {
			none += fmt.Sprintf(" (of the newest: %v)", err)
		}
	}
	if j.opts.SnapshotOnly {
		return fmt.Errorf("%w: %s has %s; leave out the option to use the log alone", ErrNone, j.src.name, none)
	}
	if !j.opts.Partial {
		return fmt.Errorf("%w: %s has %s, and the log alone has neither the tables' definitions nor their constraints, defaults and indexes", ErrUnclear, j.src.name, none)
	}
	j.note("there is no snapshot: the tables were made from the log, without their constraints, defaults and indexes")
	return os.Truncate(j.file, 0)
}

// fetchSnapshot writes a snapshot to the file, and reads all of it.
func (j *job) fetchSnapshot(key string) (err error) {
	f, err := os.OpenFile(j.file, os.O_WRONLY|os.O_TRUNC, 0)
	if err != nil {
		return err
	}
	err = j.copySnapshot(f, key)
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	c, err := sqlite.Open(j.file, sqlite.Options{Distrust: true, KeepJournal: true})
	if err != nil {
		return fmt.Errorf("%w: %s: %w", ErrDamaged, key, err)
	}
	defer func() { err = errors.Join(err, c.Close()) }()
	switch logs, err := c.Int("SELECT count(*) FROM sqlite_schema WHERE name = '_driftdb_log' AND sql LIKE '%AUTOINCREMENT%'"); {
	case err != nil:
		return fmt.Errorf("%w: %s: %w", ErrDamaged, key, err)
	case logs != 1:
		return fmt.Errorf("%w: %s is not a snapshot of the package: it has no table _driftdb_log", ErrDamaged, key)
	}
	report, err := check.Run(j.ctx, c, check.Options{})
	if _, unread := errors.AsType[*sqlite.Error](err); unread && j.ctx.Err() == nil {
		return fmt.Errorf("%w: %s: %w", ErrDamaged, key, err)
	} else if err != nil {
		return err
	}
	if len(report.Faults) > 0 {
		return fmt.Errorf("%w: %s: %s", ErrDamaged, key, report.Faults[0])
	}
	return nil
}

// startAt finds the last change that the snapshot has in the package's own table, which
// numbers changes without reusing a number.
func (j *job) startAt() (err error) {
	if j.res.Snapshot != "" {
		j.res.Base, err = j.c.Int("SELECT coalesce(max(seq), 0) FROM sqlite_sequence WHERE name = '_driftdb_log'")
	}
	j.res.Sequence = j.res.Base
	return err
}

// dropOwn removes the package's tables, and whatever else has a name that DriftDB would
// take for its own.
func (j *job) dropOwn() error {
	var drops []string
	if err := j.c.Each(`SELECT type, name FROM sqlite_schema WHERE type IN ('table', 'view') AND name LIKE '\_driftdb\_%' ESCAPE '\' ORDER BY rowid`,
		func(st *sqlite.Stmt) error {
			drops = append(drops, "DROP "+st.Text(0)+" IF EXISTS main."+quote(st.Text(1))) // a virtual table takes others along
			return nil
		}); err != nil {
		return err
	}
	for _, drop := range drops {
		if err := j.c.Exec(drop); err != nil {
			return err
		}
	}
	return nil
}

// finish removes what is not the program's, and checks and counts what is left.
func (j *job) finish() error {
	if err := j.dropOwn(); err != nil {
		return err
	}
	report, err := check.Run(j.ctx, j.c, check.Options{})
	if err != nil {
		return err
	}
	if len(report.Faults) > 0 {
		return fmt.Errorf("%w: the new database has a fault: %s", ErrDamaged, report.Faults[0])
	}
	j.res.Rows, j.res.Violations = report.Rows, report.Violations
	var names []string
	if err := j.c.Each("SELECT name FROM sqlite_schema WHERE type = 'table' AND sql NOT LIKE 'CREATE VIRTUAL%' AND name NOT LIKE 'sqlite\\_%' ESCAPE '\\' ORDER BY name",
		func(st *sqlite.Stmt) error { names = append(names, st.Text(0)); return nil }); err != nil {
		return err
	}
	for _, name := range names {
		rows, err := j.c.Int("SELECT count(*) FROM " + quote(name))
		if err != nil {
			return err
		}
		j.res.Tables = append(j.res.Tables, Table{name, rows})
	}
	pages, err := j.c.Int("PRAGMA page_count")
	if err != nil {
		return err
	}
	size, err := j.c.Int("PRAGMA page_size")
	j.res.Bytes = pages * size
	if j.more > 0 {
		j.res.Notes = append(j.res.Notes, fmt.Sprintf("and %d more like these", j.more))
	}
	return err
}

// maxNotes is how many notes a result has; the others are counted.
const maxNotes = 100

func (j *job) note(format string, args ...any) {
	if len(j.res.Notes) == maxNotes {
		j.more++
		return
	}
	j.res.Notes = append(j.res.Notes, fmt.Sprintf(format, args...))
}

// unclear reports what the log does not describe: an error, or with Partial a note.
func (j *job) unclear(format string, args ...any) error {
	if !j.opts.Partial {
		return fmt.Errorf("%w: %s", ErrUnclear, fmt.Sprintf(format, args...))
	}
	j.note(format, args...)
	return nil
}
