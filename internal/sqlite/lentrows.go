package sqlite

import "reflect"

// LentRows are rows of a connection that can be taken back. They know names and declared types
// without the connection; everything else is a use of it.
type LentRows struct {
	DriverRows // a connection has only these
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

// ColumnTypeScanType asks the connection. Without it, it returns the driver's own fallback.
func (r *LentRows) ColumnTypeScanType(i int) reflect.Type {
	t := reflect.TypeFor[string]()
	_ = r.Use(func() error {
		t = r.DriverRows.ColumnTypeScanType(i)
		return nil
	})
	return t
}
