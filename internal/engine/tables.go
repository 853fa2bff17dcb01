package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/driftdb/driftdb-go/internal/backup"
	"github.com/driftdb/driftdb-go/internal/changelog"
	"github.com/driftdb/driftdb-go/internal/dbfile"
	"github.com/driftdb/driftdb-go/internal/part"
	"github.com/driftdb/driftdb-go/internal/restore"
	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// Tables says which tables to restore, and to where.
type Tables struct {
	Path  string // of a database, which is created if it is missing
	Names []string
	As    string // the name of the copy, of one table; "": see copies.name
	At    restore.Target

	Progress func(restore.Progress)
	Public   func(error) error // as in Config
}

// RestoreTables restores what the backup holds at a point to a file that is not kept, and
// copies tables from there, all or none. It returns the copies, and the point.
func RestoreTables(ctx context.Context, b *backup.Backup, o Tables) ([]*part.Table, restore.Result, error) {
	tables, at, err := restoreTables(ctx, b, o)
	if err != nil {
		err = fmt.Errorf("restore %s: %w", b.Name(), err)
	}
	return tables, at, err
}

func restoreTables(ctx context.Context, b *backup.Backup, o Tables) (tables []*part.Table, at restore.Result, err error) {
	switch {
	case o.Path == "" || o.Path == Memory:
		return nil, at, errors.New("Path must name a file")
	case len(o.Names) == 0:
		return nil, at, errors.New("no table is named")
	case o.As != "" && len(o.Names) > 1:
		return nil, at, errors.New("As can name the copy of one table only")
	}
	past, at, err := b.Temporary(ctx, restore.Options{Target: o.At, Progress: o.Progress})
	if err != nil {
		return nil, at, err
	}
	defer func() { err = errors.Join(err, past.Release()) }()
	cfg := b.Config()
	from, err := sqlite.Open(past.Path(), sqlite.Options{MustExist: true, KeepJournal: true, QueryOnly: true, Distrust: true, OnConnect: cfg.Connect(ctx)})
	if err != nil {
		return nil, at, err
	}
	defer func() { err = errors.Join(err, from.Close()) }()
	defer from.Watch(ctx)()
	c := &copies{Tables: o, cfg: cfg, from: from, sequence: at.Sequence}
	err = c.put(ctx)
	return c.tables, at, err
}

// copies are copies of tables on their way into a database.
type copies struct {
	Tables
	cfg      backup.Config
	from     *sqlite.Conn
	sequence int64
	tables   []*part.Table
}

// put finds out what there is at the path, and puts the copies there.
func (c *copies) put(ctx context.Context) error {
	f, err := dbfile.Take(c.Path)
	if err != nil {
		return err
	}
	name, known, err := c.putInto(ctx, f)
	if err = errors.Join(err, f.Abandon()); err != nil || !known {
		return err
	}
	return c.putCaptured(ctx, cmp.Or(name, c.cfg.Name))
}

// putInto puts the copies into a new file, or a database that DriftDB does not know. It puts
// nothing into one that it knows, and returns that one's name.
func (c *copies) putInto(ctx context.Context, f *dbfile.File) (name string, known bool, err error) {
	there, _, err := f.There()
	if err != nil {
		return "", false, err
	}
	if !there {
		return "", false, c.putNew(ctx, f)
	}
	conn, err := c.open(ctx, f.Path())
	if err != nil {
		return "", false, notDatabase(err)
	}
	defer func() { err = errors.Join(err, conn.Close()) }()
	if known, err = changelog.Exists(conn); err != nil {
		return "", false, notDatabase(err)
	}
	if known {
		id, err := changelog.ReadIdentity(conn)
		return id.Name, true, err
	}
	return "", false, c.copyTo(ctx, conn, c.name)
}

// open opens a database that DriftDB does not know, and leaves its journal mode as it is.
func (c *copies) open(ctx context.Context, path string) (*sqlite.Conn, error) {
	return sqlite.Open(path, sqlite.Options{MustExist: true, KeepJournal: true, Synchronous: sqlite.SyncFull, Distrust: true, OnConnect: c.cfg.Connect(ctx)})
}

// putNew puts the copies into a new file, which appears when it is complete.
func (c *copies) putNew(ctx context.Context, f *dbfile.File) (err error) {
	if err := f.Free(false); err != nil {
		return err
	}
	w, err := dbfile.NewWork(f.Path())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.Close()) }()
	conn, err := c.open(ctx, w.Path())
	if err != nil {
		return err
	}
	same := func(table string) string { return table }
	if c.As != "" {
		same = c.name
	}
	if err := errors.Join(c.copyTo(ctx, conn, same), conn.Close()); err != nil {
		return err
	}
	_, err = f.Replace(w, false)
	return err
}

// name returns the name of a copy in a database that may have the table itself: it says when
// it is from.
func (c *copies) name(table string) string {
	if c.As != "" {
		return c.As
	}
	return fmt.Sprintf("%s_at_%d", table, c.sequence)
}

// copyTo copies the tables in one transaction.
func (c *copies) copyTo(ctx context.Context, conn *sqlite.Conn, name func(string) string) (err error) {
	if c.tables, err = part.Plan(c.from, c.Names, name, c.cfg.Connect(ctx)); err != nil {
		return err
	}
	defer conn.Watch(ctx)()
	if err := conn.Exec("PRAGMA foreign_keys=OFF; PRAGMA ignore_check_constraints=ON; BEGIN IMMEDIATE"); err != nil {
		return notDatabase(err)
	}
	if err := part.Copy(ctx, c.from, onConn{conn}, c.tables); err != nil {
		return errors.Join(err, conn.Rollback())
	}
	return conn.Exec("COMMIT")
}

// putCaptured puts the copies into a database that DriftDB knows, through its writer: they are
// changes like any others, which the next program that opens it uploads.
func (c *copies) putCaptured(ctx context.Context, name string) (err error) {
	if c.tables, err = part.Plan(c.from, c.Names, c.name, c.cfg.Connect(ctx)); err != nil {
		return err
	}
	cfg := Config{Config: c.cfg, Path: c.Path, ManualSync: true, Public: c.Public}
	cfg.Name = name
	db, err := Open(ctx, cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	// The copies have what the tables had, although that may refer to rows that are not there.
	if _, err := db.Exec(ctx, "PRAGMA foreign_keys=OFF; PRAGMA ignore_check_constraints=ON", nil); err != nil {
		return err
	}
	own, err := db.Tx(ctx, func(tx *Tx) error { return part.Copy(ctx, c.from, onTx{tx}, c.tables) })
	return errors.Join(own, err)
}

// onConn is a part.Target.
type onConn struct{ c *sqlite.Conn }

func (t onConn) Exec(_ context.Context, statement string) error { return t.c.Exec(statement) }

func (t onConn) Run(ctx context.Context, query string, fn func(*sqlite.Stmt) error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	st, err := t.c.Cached(query)
	if err != nil {
		return err
	}
	defer st.Release()
	return fn(st)
}

// onTx is a part.Target.
type onTx struct{ tx *Tx }

func (t onTx) Exec(ctx context.Context, statement string) error {
	_, err := t.tx.Exec(ctx, statement, nil)
	return err
}

func (t onTx) Run(ctx context.Context, query string, fn func(*sqlite.Stmt) error) error {
	return t.tx.Conn().WriteOne(ctx, query, fn)
}
