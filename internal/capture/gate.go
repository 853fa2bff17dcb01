package capture

import (
	"fmt"

	"github.com/driftdb/driftdb-go/internal/sqlite"
	lib "modernc.org/sqlite/lib"
)

// gate decides whether a transaction may be committed.
type gate struct {
	c         *sqlite.Conn
	shared    *Shared
	ended     bool  // the connection is being taken back: no commits
	answering bool  // the commit is one of our own barriers
	admitted  bool  // see Conn.Admit
	denied    error // why the last commit was refused: SQLite only passes on error texts
}

// pass is called within each commit. A commit that changes nothing is never contested.
func (g *gate) pass(changesNothing bool) error {
	g.denied = g.shared.mayCommit(changesNothing || g.answering || g.admitted)
	return g.denied
}

// answer calls fn, which commits one of our own barriers.
func (g *gate) answer(fn func() error) error {
	g.answering = true
	defer func() { g.answering = false }()
	return fn()
}

func (g *gate) admit(is bool) { g.admitted = is }

// shut refuses all later commits; isShut reports whether it was called.
func (g *gate) shut()        { g.ended = true }
func (g *gate) isShut() bool { return g.ended }

// why returns the reason of the last refusal and clears it.
func (g *gate) why() error {
	why := g.denied
	g.denied = nil
	return why
}

// noteInterrupt keeps err as the reason of the failed commit if one of our
// statements was interrupted. The program's statement was then interrupted, too,
// but SQLite returns a different error for it.
func (g *gate) noteInterrupt(err error) {
	if err == nil {
		return
	}
	if !sqlite.IsInterrupted(err) {
		if lib.Xsqlite3_is_interrupted(g.c.TLS, g.c.DB) == 0 {
			return
		}
		// An interrupted statement within another one may fail with SQLITE_ERROR.
		err = fmt.Errorf("%w: %v", sqlite.NewError(lib.SQLITE_INTERRUPT, "interrupted"), err)
	}
	g.denied = err
	g.c.FailedBy(err)
}
