package sqlite

import (
	"database/sql/driver"
	"errors"
	"reflect"

	"github.com/driftdb/driftdb-go/internal/cmem"
	"modernc.org/libc"
)

// Only this file looks behind the driver's public interface. The driver keeps SQLite's handle
// and the thread state that SQLite's functions need in two unexported fields. Everything that
// the driver does not offer (exact values, statements without database/sql, hooks that must
// not allocate) goes through them. Open refuses a driver whose structure has changed.

var errDriverShape = errors.New("sqlite: this version of modernc.org/sqlite keeps its handle elsewhere; build with the version that DriftDB's go.mod names")

func handleOf(dc driver.Conn) (tls *libc.TLS, db uintptr, err error) {
	v := reflect.ValueOf(dc)
	if v.Kind() != reflect.Pointer || v.Elem().Kind() != reflect.Struct {
		return nil, 0, errDriverShape
	}
	fdb, ftls := v.Elem().FieldByName("db"), v.Elem().FieldByName("tls")
	if fdb.Kind() != reflect.Uintptr || !ftls.IsValid() || ftls.Type() != reflect.TypeFor[*libc.TLS]() {
		return nil, 0, errDriverShape
	}
	tls, db = (*libc.TLS)(ftls.UnsafePointer()), uintptr(fdb.Uint())
	if tls == nil || db == 0 {
		return nil, 0, errDriverShape
	}
	return tls, db, nil
}

// CFunc returns the address at which SQLite's transpiled code calls f.
func CFunc[T any](f T) uintptr { return cmem.CFunc(f) }

// CBytes views n bytes of C memory at p. They are valid for as long as SQLite keeps them.
func CBytes(p uintptr, n int) []byte { return cmem.Bytes(p, n) }

// CString views the NUL-terminated bytes at p.
func CString(p uintptr) []byte {
	if p == 0 {
		return nil
	}
	n := 0
	for *cmem.At[byte](p + uintptr(n)) != 0 {
		n++
	}
	return CBytes(p, n)
}
