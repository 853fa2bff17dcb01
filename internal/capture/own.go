package capture

import (
	"fmt"

	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// ownStatements runs our own statements on the connection. They are invisible: the hook
// ignores them, and they do not affect last_insert_rowid(), changes() or total_changes().
type ownStatements struct {
	c        *sqlite.Conn
	inside   bool // one of our statements is running
	prepared []*sqlite.Stmt
}

// ownStatement is a statement that is compiled once.
type ownStatement struct {
	st    **sqlite.Stmt
	query string
}

func (o *ownStatements) prepare(statements ...ownStatement) error {
	for _, s := range statements {
		st, err := o.c.Prepare(s.query)
		if err != nil {
			return fmt.Errorf("capture: %w", err)
		}
		*s.st, o.prepared = st, append(o.prepared, st)
	}
	return nil
}

func (o *ownStatements) close() {
	for _, st := range o.prepared {
		st.Finalize()
	}
}

// run steps a statement to its end.
func (o *ownStatements) run(st *sqlite.Stmt, row func(*sqlite.Stmt)) (rowid int64, err error) {
	err = o.do(func() error {
		for {
			more, err := st.Step()
			if err != nil {
				return fmt.Errorf("capture: %w", err)
			}
			if !more {
				rowid = o.c.LastRowID()
				return nil
			}
			if row != nil {
				row(st)
			}
		}
	})
	return rowid, err
}

// active reports whether one of our statements is running.
func (o *ownStatements) active() bool { return o.inside }

// do calls fn, which runs our own statements.
func (o *ownStatements) do(fn func() error) error {
	shown, was := o.c.Counters(), o.inside
	o.inside = true
	err := fn()
	o.inside = was
	o.c.SetCounters(shown)
	return err
}
