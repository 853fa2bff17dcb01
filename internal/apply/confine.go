package apply

import (
	"errors"
	"fmt"
	"strings"

	"github.com/driftdb/driftdb-go/internal/sqlite"
	lib "modernc.org/sqlite/lib"
)

// A log is not trusted: anyone who can write to the bucket can put any entry into it. An
// entry may only change main, by a row of an ordinary table or by one schema statement. It
// must not change another file or database, a setting, our own tables, or the state of the
// transaction that it is part of.

// ErrForged is returned for an entry that would do more than that.
var ErrForged = errors.New("DriftDB never logs such a change, so it was not applied: the log is forged or damaged; try to restore an earlier point")

// ours is the prefix of our own tables' names, in upper case.
const ours = "_DRIFTDB_"

func isOurs(name string) bool { return strings.HasPrefix(strings.ToUpper(name), ours) }

// settings are the PRAGMAs that the log may set: they are part of the database header.
var settings = map[string]bool{"user_version": true, "application_id": true, "schema_version": true}

// define runs one statement that defines or alters something in main.
func (r *Replay) define(sql string) error {
	bounds, ok := BoundsOf(sql)
	if !ok {
		return ErrForged
	}
	before, err := r.countOurs(bounds)
	if err != nil {
		return err
	}
	if err := r.within(bounds, sql); err != nil {
		return err
	}
	if r.c.Autocommit() {
		return fmt.Errorf("%w: it ended the transaction", ErrForged)
	}
	after, err := r.countOurs(bounds)
	if err == nil && after != before {
		err = fmt.Errorf("%w: it uses a name reserved for DriftDB", ErrForged)
	}
	return err
}

// within compiles and runs sql, which must be one statement, within bounds.
func (r *Replay) within(bounds *Bounds, sql string) error {
	denied := ""
	stop := r.c.Authorize(func(a sqlite.Action) bool {
		ok := bounds.Allow(a)
		if !ok && denied == "" {
			denied = fmt.Sprintf("action %d on %s %s", a.Code, a.Arg, a.On)
		}
		return ok
	})
	defer stop()
	err := r.runOne(sql)
	if denied != "" {
		err = fmt.Errorf("%w: %s: %w", ErrForged, denied, err)
	}
	return err
}

func (r *Replay) runOne(sql string) error {
	st, rest, err := r.c.PrepareTail(sql)
	if err != nil {
		return err
	}
	if st == nil {
		return fmt.Errorf("%w: there is no statement", ErrForged)
	}
	defer st.Finalize()
	for rest != "" {
		more, next, err := r.c.PrepareTail(rest)
		if more != nil {
			more.Finalize()
		}
		if more != nil || err != nil {
			return fmt.Errorf("%w: there is more than one statement", ErrForged)
		}
		rest = next
	}
	return st.Each(func(*sqlite.Stmt) error { return nil })
}

// Bounds are what one schema statement may do when it is replayed. Capture checks them
// before it logs the statement.
type Bounds struct {
	kind    string // the statement's first word
	virtual bool   // it makes a virtual table
}

// BoundsOf returns the bounds of a statement, unless it is of a kind that is never logged.
// sql must begin with the statement's first word: capture strips leading spaces and
// comments.
func BoundsOf(sql string) (b *Bounds, ok bool) {
	end := strings.IndexFunc(sql, func(c rune) bool { return c|32 < 'a' || c|32 > 'z' })
	if end < 0 {
		end = len(sql)
	}
	switch kind := strings.ToUpper(sql[:end]); kind {
	case "CREATE", "ALTER", "DROP", "ANALYZE", "REINDEX", "PRAGMA":
		return &Bounds{kind: kind}, true
	}
	return nil, false
}

// Allow reports whether a is allowed, be it an action of the statement itself or of
// statements that SQLite and virtual tables run for it.
func (b *Bounds) Allow(a sqlite.Action) bool {
	if b.kind == "PRAGMA" {
		return a.Code == lib.SQLITE_PRAGMA && settings[strings.ToLower(a.Arg)] && a.On != "" && (a.Database == "main" || a.Database == "")
	}
	switch a.Code {
	case lib.SQLITE_CREATE_TABLE, lib.SQLITE_CREATE_INDEX, lib.SQLITE_CREATE_VIEW, lib.SQLITE_CREATE_TRIGGER,
		lib.SQLITE_DROP_TABLE, lib.SQLITE_DROP_INDEX, lib.SQLITE_DROP_VIEW, lib.SQLITE_DROP_TRIGGER, lib.SQLITE_DROP_VTABLE,
		lib.SQLITE_ANALYZE, lib.SQLITE_REINDEX:
		return a.Database == "main" && !isOurs(a.Arg) && !isOurs(a.On)
	case lib.SQLITE_CREATE_VTABLE:
		b.virtual = true
		return a.Database == "main" && !isOurs(a.Arg) && !strings.HasPrefix(strings.ToLower(a.On), "driftdb")
	case lib.SQLITE_ALTER_TABLE: // whose first argument is the database
		return a.Arg == "main" && !isOurs(a.On)
	case lib.SQLITE_SELECT: // CREATE TABLE … AS is logged as rows; FTS and R-Tree query when they are created
		return b.kind != "CREATE" || b.virtual
	case lib.SQLITE_READ, lib.SQLITE_RECURSIVE:
		return true
	case lib.SQLITE_INSERT, lib.SQLITE_UPDATE, lib.SQLITE_DELETE: // of the schema and of shadow tables; ALTER looks through temp's schema
		return (a.Database == "main" || a.Database == "temp" && b.kind == "ALTER") && !isOurs(a.Arg)
	case lib.SQLITE_FUNCTION:
		return !strings.EqualFold(a.On, "load_extension") && !strings.EqualFold(a.On, "fts3_tokenizer")
	case lib.SQLITE_PRAGMA:
		return a.On == "" && (a.Arg == "page_size" || a.Arg == "data_version") // FTS and R-Tree read them
	}
	return false
}

// countOurs counts the schema entries with a name of our own. It only does so for an ALTER:
// for other statements, Allow sees the new name.
func (r *Replay) countOurs(b *Bounds) (int64, error) {
	if b.kind != "ALTER" {
		return 0, nil
	}
	return r.c.Int("SELECT count(*) FROM main.sqlite_schema WHERE upper(substr(name, 1, 9)) = '" + ours + "'")
}

// ordinary returns an error if rows of the named table cannot be in a log: the table is our
// own, or virtual, and a virtual table may do more with a row than store it.
func (r *Replay) ordinary(name string) error {
	if isOurs(name) {
		return fmt.Errorf("table %s: %w", name, ErrForged)
	}
	if r.virtual == nil {
		var err error
		if r.virtual, err = r.c.VirtualTables(); err != nil {
			return err
		}
	}
	if upper := strings.ToUpper(name); !r.virtual[upper] && !r.modules[upper] {
		return nil
	}
	kind := ""
	err := r.c.About("SELECT type FROM pragma_table_list(?1) WHERE schema = 'main'", name, func(st *sqlite.Stmt) { kind = st.Text(0) })
	if err == nil && kind != "table" && kind != "shadow" {
		err = fmt.Errorf("table %s is virtual: %w", name, ErrForged)
	}
	return err
}
