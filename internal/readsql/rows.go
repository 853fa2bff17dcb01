package readsql

import (
	"database/sql/driver"
	"io"
	"reflect"

	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// rows are rows of a connection that can be taken back. What they say of names and
// declared types they know without it.
type rows struct {
	sqlite.DriverRows
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

func (r *rows) ColumnTypeLength(i int) (n int64, ok bool) {
	_ = r.s.use(func() error {
		n, ok = r.DriverRows.ColumnTypeLength(i)
		return nil
	})
	return n, ok
}

func (r *rows) ColumnTypeScanType(i int) reflect.Type {
	t := reflect.TypeFor[string]() // the driver's own last resort
	_ = r.s.use(func() error {
		t = r.DriverRows.ColumnTypeScanType(i)
		return nil
	})
	return t
}
