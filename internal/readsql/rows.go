package readsql

import (
	"database/sql/driver"
	"io"

	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// rows are rows.
type rows struct {
	sqlite.LentRows
	s     *session
	kept  sqlite.Kept
	ended bool // there are no more
}

func (r *rows) Next(dest []driver.Value) error {
	err := r.s.use(func() error { return r.DriverRows.Next(dest) })
	r.ended = r.ended || err == io.EOF
	return err
}

// Close ends the rows. That they were cut off is told here, where QueryRow learns it.
func (r *rows) Close() error {
	err := r.s.use(func() error { return r.s.loan.Drop(&r.kept) })
	if r.ended {
		return nil
	}
	return err
}
