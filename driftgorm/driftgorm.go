// Package driftgorm lets GORM (gorm.io/gorm) use a DriftDB database, without cgo:
//
//	db, err := driftdb.Open(ctx, driftdb.Config{Name: "app", Path: "data/app.sqlite"})
//	...
//	defer db.Close()
//	orm, err := gorm.Open(driftgorm.Open(db), &gorm.Config{TranslateError: true})
//
// Everything that GORM writes is captured and backed up like any other change. GORM uses
// the connections of [driftdb.DB.SQL], and what that method says of transactions and times
// holds here, too. Close the database, and not what orm.DB() returns.
//
// With TranslateError, a violated constraint is gorm.ErrDuplicatedKey,
// gorm.ErrForeignKeyViolated or gorm.ErrCheckConstraintViolated, and still SQLite's own
// error: [errors.As] finds a *[driftdb.Error] in it. With and without TranslateError,
// [errors.Is] finds driftdb.ErrReadOnly, driftdb.ErrFenced and the other errors of DriftDB.
//
// Migrations: GORM rebuilds a table to change the type of a column or to add or remove a
// constraint. Run migrations outside of a transaction: SQLite cannot turn off foreign keys
// inside one, and to drop the old table would then delete the rows that refer to it. If
// there are such tables, a migration in a transaction is refused ([ErrInTransaction]).
package driftgorm

import (
	"errors"
	"fmt"

	"github.com/driftdb/driftdb-go"
	"github.com/libtnb/sqlite"
	"gorm.io/gorm"
	"gorm.io/gorm/clause"
	"gorm.io/gorm/migrator"
	lib "modernc.org/sqlite/lib"
)

// Open returns a GORM dialect for an open database. It uses neither the disk nor the
// network; gorm.Open runs one query.
func Open(db *driftdb.DB) gorm.Dialector {
	return dialect{sqlite.Dialector{Conn: db.SQL()}}
}

// dialect is GORM's dialect of SQLite for modernc.org/sqlite, apart from what follows.
type dialect struct{ sqlite.Dialector }

// Translate makes GORM's error of a violated constraint, which also is the original one.
func (dialect) Translate(err error) error {
	e, ok := errors.AsType[*driftdb.Error](err)
	if !ok {
		return err
	}
	var known error
	switch e.ExtendedCode {
	case lib.SQLITE_CONSTRAINT_UNIQUE, lib.SQLITE_CONSTRAINT_PRIMARYKEY, lib.SQLITE_CONSTRAINT_ROWID:
		known = gorm.ErrDuplicatedKey
	case lib.SQLITE_CONSTRAINT_FOREIGNKEY:
		known = gorm.ErrForeignKeyViolated
	case lib.SQLITE_CONSTRAINT_CHECK:
		known = gorm.ErrCheckConstraintViolated
	default:
		return err
	}
	return fmt.Errorf("%w: %w", known, err)
}

// SavePoint begins a savepoint. GORM calls it for a transaction inside another one, which
// would otherwise run without its savepoint if that cannot be made.
func (dialect) SavePoint(tx *gorm.DB, name string) error {
	return tx.Exec("SAVEPOINT ?", clause.Column{Name: name}).Error
}

// RollbackTo goes back to a savepoint.
func (dialect) RollbackTo(tx *gorm.DB, name string) error {
	return tx.Exec("ROLLBACK TO SAVEPOINT ?", clause.Column{Name: name}).Error
}

// Migrator returns what changes tables for GORM.
func (d dialect) Migrator(db *gorm.DB) gorm.Migrator {
	tx, inTx := db.Statement.ConnPool.(gorm.TxCommitter)
	if inTx {
		db = db.WithContext(db.Statement.Context) // has a statement of its own
		db.Statement.ConnPool = transaction{db.Statement.ConnPool, tx}
	}
	return &migrate{sqlite.Migrator{Migrator: migrator.Migrator{Config: migrator.Config{
		DB: db, Dialector: d, CreateIndexAfterCreateTable: true,
	}}}, inTx}
}

// transaction is the connection of a transaction, and no way to any other connection: one
// that the migrator opened to write would wait for this transaction's lock.
type transaction struct {
	gorm.ConnPool
	gorm.TxCommitter
}
