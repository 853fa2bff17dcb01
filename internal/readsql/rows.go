package readsql

import (
	"database/sql/driver"
	"io"

	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// rows are the rows of a query; each call is a use of the loan.
type rows struct {
	sqlite.LentRows
	s     *session
	kept  sqlite.Kept
	ended bool // all rows were read
}

func (r *rows) Next(dest []driver.Value) error {
	err := r.s.use(func() error { return r.DriverRows.Next(dest) })
	r.ended = r.ended || err == io.EOF
	return err
}

// Close ends the rows. If they were cut off, it returns the error: this is where QueryRow
// sees it.
func (r *rows) Close() error {
	err := r.s.use(func() error { return r.s.loan.Drop(&r.kept) })
	if r.ended {
		return nil
	}
	return err
}
