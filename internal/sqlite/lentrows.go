package sqlite

import "reflect"

// LentRows are rows of a connection that can be taken back. What they say of names and
// declared types they know without the connection; the rest is a use of it.
type LentRows struct {
	DriverRows // a connection has no others
	Use        func(func() error) error
}

// ColumnTypeLength asks the connection.
func (r *LentRows) ColumnTypeLength(i int) (n int64, ok bool) {
	_ = r.Use(func() error {
		n, ok = r.DriverRows.ColumnTypeLength(i)
		return nil
	})
	return n, ok
}

// ColumnTypeScanType asks the connection. Without it, it is the driver's own last resort.
func (r *LentRows) ColumnTypeScanType(i int) reflect.Type {
	t := reflect.TypeFor[string]()
	_ = r.Use(func() error {
		t = r.DriverRows.ColumnTypeScanType(i)
		return nil
	})
	return t
}
