package driftgorm

import (
	"database/sql"
	"errors"
	"fmt"

	"github.com/driftdb/driftdb-go"
	"github.com/libtnb/sqlite"
	"gorm.io/gorm"
	"gorm.io/gorm/clause"
	"gorm.io/gorm/logger"
	lib "modernc.org/sqlite/lib"
)

// ErrInTransaction means that a migration in a transaction would drop a table, or rebuild
// it, and SQLite would delete the rows of other tables that refer to it. Run it outside of
// the transaction. It has changed nothing.
var ErrInTransaction = errors.New("driftgorm: a table that others refer to can be neither dropped nor rebuilt in a transaction; migrate outside of it")

// migrate changes tables as GORM's migrator for SQLite does: where SQLite has no statement
// for a change, it copies the table, drops the old one and gives the copy its name.
type migrate struct {
	sqlite.Migrator
	inTx bool // in a transaction, where foreign keys cannot be turned off
}

// AlterColumn rebuilds the table with another type of the column.
func (m *migrate) AlterColumn(value any, field string) error {
	if err := m.mayRebuild(value, ""); err != nil {
		return err
	}
	return m.Migrator.AlterColumn(value, field)
}

// CreateConstraint rebuilds the table with the constraint.
func (m *migrate) CreateConstraint(value any, name string) error {
	if err := m.mayRebuild(value, name); err != nil {
		return err
	}
	return m.Migrator.CreateConstraint(value, name)
}

// DropConstraint rebuilds the table without the constraint.
func (m *migrate) DropConstraint(value any, name string) error {
	if err := m.mayRebuild(value, name); err != nil {
		return err
	}
	return m.Migrator.DropConstraint(value, name)
}

// DropColumn drops a column with SQLite's own statement, which is one entry of the log, and
// not one for each row as in a copy of the table. A column that SQLite does not drop, such
// as one with an index or a constraint, makes a copy.
func (m *migrate) DropColumn(value any, field string) error {
	err := m.RunWithValue(value, func(stmt *gorm.Statement) error {
		name := field
		if stmt.Schema != nil {
			if f := stmt.Schema.LookUpField(field); f != nil {
				name = f.DBName
			}
		}
		return m.DB.Session(&gorm.Session{Logger: logger.Discard}). // it may be refused
										Exec("ALTER TABLE ? DROP COLUMN ?", clause.Table{Name: stmt.Table}, clause.Column{Name: name}).Error
	})
	if e, ok := errors.AsType[*driftdb.Error](err); !ok || e.Code != lib.SQLITE_ERROR {
		return err
	}
	if err := m.mayRebuild(value, ""); err != nil {
		return err
	}
	return m.Migrator.DropColumn(value, field)
}

// DropTable drops tables.
func (m *migrate) DropTable(values ...any) error {
	var tables []string
	for _, value := range values {
		if err := m.RunWithValue(value, func(stmt *gorm.Statement) error {
			tables = append(tables, stmt.Table)
			return nil
		}); err != nil {
			return err
		}
	}
	for _, table := range tables {
		if err := m.mayDrop(table, tables); err != nil {
			return err
		}
	}
	return m.Migrator.DropTable(values...)
}

// mayRebuild returns ErrInTransaction if the table of a value, or of its constraint, must
// not be dropped.
func (m *migrate) mayRebuild(value any, constraint string) error {
	return m.RunWithValue(value, func(stmt *gorm.Statement) error {
		table := stmt.Table
		if constraint != "" {
			_, table = m.GuessConstraintInterfaceAndTable(stmt, constraint)
		}
		return m.mayDrop(table, []string{table})
	})
}

// mayDrop returns ErrInTransaction if to drop a table would delete rows of tables that are
// not dropped with it: with foreign keys on, SQLite first deletes all rows of a table that
// it drops, and then those that refer to them.
func (m *migrate) mayDrop(table string, with []string) error {
	if !m.inTx {
		return nil
	}
	var other string
	err := m.DB.Raw(`SELECT m.name FROM pragma_foreign_keys k, sqlite_schema m, pragma_foreign_key_list(m.name) f
		WHERE k.foreign_keys AND m.type = 'table' AND m.name NOT IN ? AND f."table" = ? COLLATE NOCASE LIMIT 1`, with, table).Row().Scan(&other)
	switch {
	case errors.Is(err, sql.ErrNoRows):
		return nil
	case err != nil:
		return err
	}
	return fmt.Errorf("%w: table %q, to which %q refers", ErrInTransaction, table, other)
}
