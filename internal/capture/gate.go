package capture

import (
	"fmt"

	"github.com/driftdb/driftdb-go/internal/sqlite"
	lib "modernc.org/sqlite/lib"
)

// gate decides whether a transaction that changes something may be committed.
type gate struct {
	c         *sqlite.Conn
	shared    *Shared
	ended     bool  // the connection is being taken away: no commit
	answering bool  // the commit is a barrier of our own
	admitted  bool  // see Conn.Admit
	denied    error // why a commit was refused just now: SQLite carries errors as text only
}

// pass is called within each commit. One that changes nothing is contested by nobody.
func (g *gate) pass(changesNothing bool) error {
	g.denied = g.shared.mayCommit(changesNothing || g.answering || g.admitted)
	return g.denied
}

// answer calls fn, whose commit is a barrier of our own.
func (g *gate) answer(fn func() error) error {
	g.answering = true
	defer func() { g.answering = false }()
	return fn()
}

func (g *gate) admit(is bool) { g.admitted = is }

// shut lets nothing pass any more, and isShut says so.
func (g *gate) shut()        { g.ended = true }
func (g *gate) isShut() bool { return g.ended }

// why returns the reason of the last refusal, and forgets it.
func (g *gate) why() error {
	why := g.denied
	g.denied = nil
	return why
}

// noteInterrupt keeps err for whoever sees the commit fail, if it says that a
// statement of ours was interrupted: so was theirs, and SQLite tells of it as an
// error of another kind.
func (g *gate) noteInterrupt(err error) {
	if err == nil {
		return
	}
	if !sqlite.IsInterrupted(err) {
		if lib.Xsqlite3_is_interrupted(g.c.TLS, g.c.DB) == 0 {
			return
		}
		// A statement within another one may fail with SQLITE_ERROR for it.
		err = fmt.Errorf("%w: %v", sqlite.NewError(lib.SQLITE_INTERRUPT, "interrupted"), err)
	}
	g.denied = err
	g.c.FailedBy(err)
}
