package restore

import (
	"errors"
	"fmt"
	"strings"

	"github.com/driftdb/driftdb-go/internal/change"
	"github.com/driftdb/driftdb-go/internal/sqlite"
	lib "modernc.org/sqlite/lib"
)

// ErrBarrier says that the log cannot be replayed across a barrier.
var ErrBarrier = errors.New("the log does not say what happened here; a snapshot is needed")

// Replay repeats logged changes on a connection, exactly: the log has what
// triggers and foreign-key actions did as changes of their own, so neither may
// act again.
type Replay struct {
	c      *sqlite.Conn
	tables map[string]*target
	rows   int64
	text   []byte // scratch for a statement's key
}

// target is a table that rows are replayed into, with its statements.
type target struct {
	name       string
	rowid      string                  // what its rowid is called here, since columns may hide a name
	statements map[string]*sqlite.Stmt // by their kind and the columns they name: see Replay.key
}

// NewReplay prepares c, which nobody else uses, for a replay.
func NewReplay(c *sqlite.Conn) (*Replay, error) {
	if err := c.Configure(lib.SQLITE_DBCONFIG_ENABLE_TRIGGER, false); err != nil {
		return nil, err
	}
	if err := c.Exec("PRAGMA foreign_keys=OFF; PRAGMA ignore_check_constraints=ON"); err != nil {
		return nil, err
	}
	return &Replay{c: c, tables: map[string]*target{}}, nil
}

// Rows is the number of row changes that were applied.
func (r *Replay) Rows() int64 { return r.rows }

// Close frees the statements; the connection stays open.
func (r *Replay) Close() {
	for _, t := range r.tables {
		for _, st := range t.statements {
			st.Finalize()
		}
	}
	clear(r.tables)
}

// Apply repeats one change, inside the transaction that the caller has begun.
func (r *Replay) Apply(e *change.Entry) error {
	switch {
	case e.Op == change.Schema:
		return r.schema(e)
	case e.Op == change.Barrier:
		return fmt.Errorf("%w (%s)", ErrBarrier, e.Reason)
	case e.Op != change.Insert && !e.HasRowID && len(e.Key) == 0:
		return fmt.Errorf("%s in table %s: the entry does not say which row", e.Op, e.Table)
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
	st, err := r.statement(t, e)
	if err != nil {
		return fmt.Errorf("%s in table %s: %w", e.Op, e.Table, err)
	}
	bind(st, e)
	err = st.Run()
	st.Clear()
	if err == nil {
		if n := r.c.Changes(); n != 1 {
			err = fmt.Errorf("%d rows are where the log has one", n)
		}
	}
	if err != nil {
		return fmt.Errorf("%s in table %s: %w", e.Op, e.Table, err)
	}
	r.rows++
	return nil
}

func (r *Replay) target(name string) (*target, error) {
	if t := r.tables[name]; t != nil {
		return t, nil
	}
	t := &target{name: name, statements: map[string]*sqlite.Stmt{}}
	hidden := map[string]bool{}
	st, err := r.c.Cached("SELECT lower(name) FROM pragma_table_xinfo(?1, 'main')")
	if err != nil {
		return nil, err
	}
	defer st.Release()
	st.BindText(1, name)
	if err := st.Each(func(st *sqlite.Stmt) error { hidden[st.Text(0)] = true; return nil }); err != nil {
		return nil, err
	}
	if len(hidden) == 0 {
		return nil, fmt.Errorf("there is no table %s", name)
	}
	for _, alias := range []string{"rowid", "_rowid_", "oid"} {
		if !hidden[alias] {
			t.rowid = alias
			break
		}
	}
	r.tables[name] = t
	return t, nil
}

// statement returns the statement for an entry, compiled once for all entries
// that do the same to the same columns.
func (r *Replay) statement(t *target, e *change.Entry) (*sqlite.Stmt, error) {
	r.key(e)
	if st := t.statements[string(r.text)]; st != nil {
		return st, nil
	}
	var sql string
	switch e.Op {
	case change.Insert:
		sql = t.insertion(e)
	case change.Update:
		sql = t.update(e)
	case change.Delete:
		sql = "DELETE FROM main." + sqlite.Quote(t.name) + " WHERE " + t.where(e)
	}
	st, err := r.c.Prepare(sql)
	if err == nil {
		t.statements[string(r.text)] = st
	}
	return st, err
}

// key puts into r.text what decides the statement for an entry.
func (r *Replay) key(e *change.Entry) {
	r.text = append(r.text[:0], byte(e.Op), 0, 0)
	if e.HasRowID {
		r.text[1] = 1
	}
	if moved(e) {
		r.text[2] = 1
	}
	for i := range e.After {
		r.text = append(append(r.text, e.After[i].Name...), 0)
	}
	if e.Op != change.Insert && !e.HasRowID {
		for i := range e.Key {
			r.text = append(append(r.text, 0), e.Key[i].Name...)
		}
	}
}

func moved(e *change.Entry) bool {
	return e.Op == change.Update && e.HasRowID && e.NewRowID != e.RowID
}

func (t *target) insertion(e *change.Entry) string {
	names := columnNames(e.After)
	if e.HasRowID {
		names = append([]string{t.rowid}, names...)
	}
	marks := strings.TrimSuffix(strings.Repeat("?, ", len(names)), ", ")
	return "INSERT INTO main." + sqlite.Quote(t.name) + "(" + strings.Join(names, ", ") + ") VALUES(" + marks + ")"
}

func (t *target) update(e *change.Entry) string {
	var set []string
	for _, n := range columnNames(e.After) {
		set = append(set, n+" = ?")
	}
	if moved(e) {
		set = append(set, t.rowid+" = ?")
	}
	if len(set) == 0 { // every changed column is generated, or none changed: the row has to be there
		set = append(set, t.anyColumn(e)+" = "+t.anyColumn(e))
	}
	return "UPDATE main." + sqlite.Quote(t.name) + " SET " + strings.Join(set, ", ") + " WHERE " + t.where(e)
}

// bind binds an entry's values in the order in which its statement names them.
func bind(st *sqlite.Stmt, e *change.Entry) {
	at := 1
	if e.Op == change.Insert && e.HasRowID {
		st.BindInt64(at, e.RowID)
		at++
	}
	at = bindColumns(st, at, e.After)
	if moved(e) {
		st.BindInt64(at, e.NewRowID)
		at++
	}
	switch {
	case e.Op == change.Insert:
	case e.HasRowID:
		st.BindInt64(at, e.RowID)
	default:
		bindColumns(st, at, e.Key)
	}
}

func (t *target) anyColumn(e *change.Entry) string {
	if e.HasRowID {
		return t.rowid
	}
	return sqlite.Quote(e.Key[0].Name)
}

// where addresses the entry's row: by its rowid when it has one of its own,
// else by its primary key, which then has no NULLs.
func (t *target) where(e *change.Entry) string {
	if e.HasRowID {
		return t.rowid + " = ?"
	}
	names := columnNames(e.Key)
	return strings.Join(names, " = ? AND ") + " = ?"
}

func bindColumns(st *sqlite.Stmt, at int, columns []change.Column) int {
	for i := range columns {
		bindValue(st, at, columns[i].Value)
		at++
	}
	return at
}

func bindValue(st *sqlite.Stmt, at int, v change.Value) {
	switch v.Kind {
	case change.Integer:
		st.BindInt64(at, v.Int)
	case change.Real:
		st.BindFloat(at, v.Real)
	case change.Text:
		st.BindTextBytes(at, v.Bytes)
	case change.Blob:
		st.BindBlob(at, v.Bytes)
	default:
		st.BindNull(at)
	}
}

// sequence sets or drops a counter. Replayed inserts have moved the counters
// in their own way before.
func (r *Replay) sequence(e *change.Entry) error {
	if e.Op != change.Delete && len(e.After) != 1 {
		return fmt.Errorf("%s in table %s: the entry does not say to what value", e.Op, e.Table)
	}
	steps := []string{"DELETE FROM main.sqlite_sequence WHERE name = ?1"}
	if e.Op != change.Delete {
		steps = append(steps, "INSERT INTO main.sqlite_sequence(name, seq) VALUES(?1, ?2)")
	}
	for _, q := range steps {
		st, err := r.c.Cached(q)
		if err != nil {
			return err
		}
		bindValue(st, 1, e.Key[0].Value)
		if e.Op != change.Delete && st.Params() == 2 {
			bindValue(st, 2, e.After[0].Value)
		}
		err = st.Run()
		st.Release()
		if err != nil {
			return err
		}
	}
	return nil
}

// schema repeats a statement under the settings that it had. Foreign keys stay
// off for DROP: what the implied DELETE did is in the log.
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
		// Under legacy_alter_table a rename reaches the references of other
		// tables only with foreign keys on. The pragma would be ignored
		// inside a transaction; the setting itself is not.
		if err := r.c.Configure(lib.SQLITE_DBCONFIG_ENABLE_FKEY, true); err != nil {
			return err
		}
		defer func() { _ = r.c.Configure(lib.SQLITE_DBCONFIG_ENABLE_FKEY, false) }()
	}
	if err := r.c.Exec(e.SQL); err != nil {
		return fmt.Errorf("%.200s: %w", e.SQL, err)
	}
	return nil
}

// isDrop says that sql, which starts with its first word, is a DROP.
func isDrop(sql string) bool { return len(sql) > 4 && strings.EqualFold(sql[:4], "DROP") }

func columnNames(columns []change.Column) []string {
	out := make([]string, len(columns), len(columns)+1)
	for i, c := range columns {
		out[i] = sqlite.Quote(c.Name)
	}
	return out
}
