package capture

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"modernc.org/sqlite/vtab"
)

// Module is what the virtual table's module is called, in lower case. A schema has no
// table of it: they are all in temp.
const Module = "driftdb_capture"

// module is the virtual table whose transaction methods SQLite calls inside
// every commit, rollback and savepoint. It holds no rows.
type module struct{}

// cap is one table of the module: the i-th of its connection.
type capTable struct {
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
	return &capTable{r.(*recorder), i}, c.Declare("CREATE TABLE x(a)")
}

func (m module) Connect(c vtab.Context, args []string) (vtab.Table, error) { return m.Create(c, args) }

func (*capTable) BestIndex(*vtab.IndexInfo) error          { return nil }
func (*capTable) Open() (vtab.Cursor, error)               { return nil, io.EOF }
func (*capTable) Disconnect() error                        { return nil }
func (*capTable) Destroy() error                           { return nil }
func (*capTable) Insert([]vtab.Value, *int64) error        { return nil }
func (*capTable) Update(int64, []vtab.Value, *int64) error { return nil }
func (*capTable) Delete(int64) error                       { return nil }
func (*capTable) Begin() error                             { return nil }
func (*capTable) Release(int) error                        { return nil }

// Sync comes to each of our tables in the order in which they joined; behind
// the last one nothing is written any more.
func (t *capTable) Sync() error {
	if t.i != t.r.level-1 {
		return nil
	}
	err := t.r.flush()
	t.r.noteInterrupt(err)
	return err
}

func (t *capTable) Commit() error {
	if t.i == 0 {
		t.r.committed()
	}
	return nil
}

func (t *capTable) Rollback() error {
	if t.i == 0 {
		t.r.rolledBack()
	}
	return nil
}

// Savepoint notes where savepoint i begins. It comes to each enlisted table in
// turn, and the last one's word counts: FTS5, which stands between ours,
// flushes its index from its own xSavepoint, before the savepoint opens. The
// outermost SAVEPOINT of a transaction has the number -1.
func (t *capTable) Savepoint(i int) error {
	r := t.r
	if i < 0 || r.enlisting && t.i > 0 {
		return nil // a table that joins late is told of the innermost savepoint, which is older than now
	}
	r.readBlobs()
	for len(r.marks) <= i {
		r.marks = append(r.marks, mark{}) // opened before we were enlisted: nothing was buffered
	}
	r.marks = r.marks[:i+1]
	r.marks[i] = mark{r.size(), r.count, r.barriers}
	return nil
}

// RollbackTo takes back what came after savepoint i.
func (t *capTable) RollbackTo(i int) error {
	r := t.r
	if t.i != 0 {
		return nil
	}
	r.forgetShapes()
	r.blobs.reset() // they were written after the savepoint: none was open there
	if r.over {
		return nil // the barrier stays: what it stands for is not known
	}
	var m mark
	if i >= 0 && i < len(r.marks) {
		m = r.marks[i]
	}
	if m.len <= r.size() {
		r.cutBack(m.len)
		r.count, r.barriers = m.count, m.barriers
	}
	return nil
}
