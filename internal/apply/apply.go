// Package apply applies entries of the log to a connection. Restore uses it to replay the
// log, and capture uses it to prove that a table can be replayed.
package apply

import (
	"errors"
	"fmt"
	"strings"

	"github.com/driftdb/driftdb-go/internal/change"
	"github.com/driftdb/driftdb-go/internal/sqlite"
	lib "modernc.org/sqlite/lib"
)

// ErrBarrier is returned at a barrier: the log cannot be replayed across it.
var ErrBarrier = errors.New("the log does not record what happened here; a snapshot is needed")

// Replay replays logged changes on a connection exactly. The log holds the changes
// of triggers and foreign-key actions as separate entries, so neither may act again.
type Replay struct {
	c       *sqlite.Conn
	tables  map[string]*target
	virtual map[string]bool // main's virtual tables, in upper case; nil if not read yet
	modules map[string]bool // module names, in upper case: some are virtual tables without CREATE
	rows    int64
	text    []byte // scratch for a statement's key
}

// NewReplay prepares c, which must not be used otherwise, for a replay.
func NewReplay(c *sqlite.Conn) (*Replay, error) {
	if err := c.Configure(lib.SQLITE_DBCONFIG_ENABLE_TRIGGER, false); err != nil {
		return nil, err
	}
	if err := c.Exec("PRAGMA foreign_keys=OFF; PRAGMA ignore_check_constraints=ON"); err != nil {
		return nil, err
	}
	r := &Replay{c: c, tables: map[string]*target{}, modules: map[string]bool{}}
	return r, c.Each("SELECT upper(name) FROM pragma_module_list", func(st *sqlite.Stmt) error {
		r.modules[st.Text(0)] = true
		return nil
	})
}

// Rows returns the number of row changes that were applied.
func (r *Replay) Rows() int64 { return r.rows }

// Close frees the statements; the connection stays open.
func (r *Replay) Close() {
	for _, t := range r.tables {
		for _, st := range t.statements {
			st.Finalize()
		}
		if t.find != nil {
			t.find.st.Finalize()
		}
	}
	clear(r.tables)
	r.virtual = nil
}

// Apply replays one change, inside a transaction that the caller has begun.
func (r *Replay) Apply(e *change.Entry) error {
	switch {
	case e.Op == change.Schema:
		return r.schema(e)
	case e.Op == change.Barrier:
		return fmt.Errorf("%w (%s)", ErrBarrier, e.Reason)
	case e.Op != change.Insert && !e.HasRowID && len(e.Key) == 0:
		return fmt.Errorf("%s in table %s: the entry has no key", e.Op, e.Table)
	case e.Table == change.SequenceTable && len(e.Key) == 1:
		return r.sequence(e)
	}
	t, err := r.target(e.Table)
	if err != nil {
		return err
	}
	if e.Op != change.Insert && e.Op != change.Update && e.Op != change.Delete {
		return fmt.Errorf("unknown operation %d in table %s", e.Op, e.Table)
	}
	if err := r.row(t, e); err != nil {
		return fmt.Errorf("%s in table %s: %w", e.Op, e.Table, err)
	}
	r.rows++
	return nil
}

// sequence sets or deletes a counter. Replayed inserts may have changed it
// differently before.
func (r *Replay) sequence(e *change.Entry) error {
	if e.Op != change.Delete && len(e.After) != 1 {
		return fmt.Errorf("%s in table %s: the entry has no values", e.Op, e.Table)
	}
	if e.Op == change.Delete {
		_, err := r.counter("DELETE FROM main.sqlite_sequence WHERE name = ?1", e)
		return err
	}
	// If there are several rows, SQLite uses the first one and ignores the others.
	n, err := r.counter("UPDATE main.sqlite_sequence SET seq = ?2 WHERE rowid = (SELECT rowid FROM main.sqlite_sequence WHERE name = ?1 ORDER BY rowid LIMIT 1)", e)
	if err == nil && n == 0 {
		_, err = r.counter("INSERT INTO main.sqlite_sequence(name, seq) VALUES(?1, ?2)", e)
	}
	return err
}

// counter runs a statement with the entry's name and value. It returns the number of
// changed rows.
func (r *Replay) counter(query string, e *change.Entry) (int64, error) {
	st, err := r.c.Cached(query)
	if err != nil {
		return 0, err
	}
	defer st.Release()
	Bind(st, 1, e.Key[0].Value)
	if e.Op != change.Delete {
		Bind(st, 2, e.After[0].Value)
	}
	err = st.Run()
	return st.Changes(), err
}

// schema replays a statement under its original settings. Foreign keys stay off for
// DROP, because the effects of its implied DELETE are in the log.
func (r *Replay) schema(e *change.Entry) error {
	r.Close()
	s := e.Settings
	for op, on := range map[int32]bool{
		lib.SQLITE_DBCONFIG_LEGACY_ALTER_TABLE: s.LegacyAlterTable,
		lib.SQLITE_DBCONFIG_DQS_DDL:            s.DoubleQuotedDDL,
		lib.SQLITE_DBCONFIG_DQS_DML:            s.DoubleQuotedDML,
	} {
		if err := r.c.Configure(op, on); err != nil {
			return err
		}
	}
	if s.LegacyAlterTable && s.ForeignKeys && !isDrop(e.SQL) {
		// With legacy_alter_table, a rename changes references in other tables
		// only if foreign keys are on. Inside a transaction SQLite ignores the
		// pragma, but not sqlite3_db_config.
		if err := r.c.Configure(lib.SQLITE_DBCONFIG_ENABLE_FKEY, true); err != nil {
			return err
		}
		defer func() { _ = r.c.Configure(lib.SQLITE_DBCONFIG_ENABLE_FKEY, false) }()
	}
	if err := r.define(e.SQL); err != nil {
		return fmt.Errorf("%.200s: %w", e.SQL, err)
	}
	return nil
}

// isDrop reports whether sql, which has no leading space, is a DROP.
func isDrop(sql string) bool { return len(sql) > 4 && strings.EqualFold(sql[:4], "DROP") }
