package capture

import (
	"context"
	"errors"
	"fmt"

	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// txState is what a session knows about the program's transaction. SQLite may roll back
// the transaction itself when a statement fails. Later statements would then run and
// commit one by one, so they are refused until the program ends the transaction.
type txState struct {
	begun bool  // begun by BeginTx and not yet ended
	open  bool  // a transaction was open after the last statement
	over  error // why SQLite rolled it back
}

// mayRun is called before a statement.
func (s *session) mayRun(query string) error {
	if s.tx.over == nil {
		return nil
	}
	if !s.tx.begun && endsTransaction(query) { // SQLite will report that none is open
		s.tx = txState{}
		return nil
	}
	return s.tx.over
}

// ran is called after a statement with its error, which it returns. Outside BeginTx only
// rollbacks that SQLite makes on its own count: an ON CONFLICT ROLLBACK is what the
// program asked for.
func (s *session) ran(query string, err error) error {
	was := s.tx.open
	s.tx.open = !s.c.Autocommit()
	if err == nil || !was || s.tx.open || s.tx.over != nil {
		return err
	}
	if s.tx.begun || (interrupted(err) || sqlite.RollsBack(err)) && !endsTransaction(query) {
		s.tx.over = fmt.Errorf("the transaction is over: SQLite rolled it back when a statement failed; end it with Rollback and start again: %w", err)
	}
	return err
}

// interrupted reports whether err is SQLite's interrupt or the error of an ended context,
// which the driver returns instead.
func interrupted(err error) bool {
	return sqlite.IsInterrupted(err) || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded)
}

// endsTransaction reports whether query ends the whole transaction.
func endsTransaction(query string) bool {
	w := words(query, 3)
	switch w[0] {
	case "COMMIT", "END":
		return true
	case "ROLLBACK":
		return w[1] != "TO" && w[2] != "TO"
	}
	return false
}
