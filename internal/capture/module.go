package capture

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"modernc.org/sqlite/vtab"
)

// Module is the name of the virtual table's module, in lower case. The main schema has no
// tables of this module; they are all in temp.
const Module = "driftdb_capture"

// module is the virtual table whose transaction methods SQLite calls inside
// every commit, rollback and savepoint. It holds no rows.
type module struct{}

// commitVTab is one table of the module: the i-th of its connection.
type commitVTab struct {
	r *recorder
	i int
}

func (module) Create(c vtab.Context, args []string) (vtab.Table, error) {
	var id uint64
	var i int
	if _, err := fmt.Sscan(strings.Join(args[3:], " "), &id, &i); err != nil {
		return nil, err
	}
	r, ok := recorders.Load(id)
	if !ok {
		return nil, errors.New("capture: no such connection")
	}
	return &commitVTab{r.(*recorder), i}, c.Declare("CREATE TABLE x(a)")
}

func (m module) Connect(c vtab.Context, args []string) (vtab.Table, error) { return m.Create(c, args) }

func (*commitVTab) BestIndex(*vtab.IndexInfo) error          { return nil }
func (*commitVTab) Open() (vtab.Cursor, error)               { return nil, io.EOF }
func (*commitVTab) Disconnect() error                        { return nil }
func (*commitVTab) Destroy() error                           { return nil }
func (*commitVTab) Insert([]vtab.Value, *int64) error        { return nil }
func (*commitVTab) Update(int64, []vtab.Value, *int64) error { return nil }
func (*commitVTab) Delete(int64) error                       { return nil }
func (*commitVTab) Begin() error                             { return nil }
func (*commitVTab) Release(int) error                        { return nil }

// Sync is called for each of our tables in the order in which they joined. Nothing
// is written after the last call.
func (t *commitVTab) Sync() error { return t.r.sync(t.i) }

func (t *commitVTab) Commit() error {
	if t.i == 0 {
		t.r.committed()
	}
	return nil
}

func (t *commitVTab) Rollback() error {
	if t.i == 0 {
		t.r.rolledBack()
	}
	return nil
}

// Savepoint records where savepoint i begins. SQLite calls it for each enlisted
// table in turn, and the last call counts: an FTS5 table between ours flushes its
// index from its own xSavepoint, before the savepoint opens. The outermost
// SAVEPOINT of a transaction has the number -1.
func (t *commitVTab) Savepoint(i int) error {
	if i >= 0 && !t.r.vtabs.joinsLate(t.i) {
		t.r.savepoint(i)
	}
	return nil
}

func (t *commitVTab) RollbackTo(i int) error {
	if t.i == 0 {
		t.r.rollbackTo(i)
	}
	return nil
}
