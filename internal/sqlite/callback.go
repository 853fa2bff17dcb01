package sqlite

import (
	"fmt"
	"sync"
	"sync/atomic"

	"github.com/driftdb/driftdb-go/internal/cmem"
	"modernc.org/libc"
	"modernc.org/libc/sys/types"
	lib "modernc.org/sqlite/lib"
)

// callbacks holds the values that SQLite refers to by number, for as long as it may call them.
var callbacks registry

type registry struct {
	last atomic.Uintptr
	m    sync.Map
}

func (r *registry) keep(v any) uintptr {
	id := r.last.Add(1)
	r.m.Store(id, v)
	return id
}

func (r *registry) drop(id uintptr) { r.m.Delete(id) }

func called[T any](id uintptr) T {
	v, _ := callbacks.m.Load(id)
	return v.(T)
}

// forget is the destructor of a function or collation.
func forget(_ *libc.TLS, id uintptr) { callbacks.drop(id) }

// transient (SQLITE_TRANSIENT) makes SQLite copy a result before the call returns.
const transient = ^uintptr(0)

// running is an Aggregate and the function that it belongs to.
type running struct {
	f   Function
	agg Aggregate
}

func callScalar(tls *libc.TLS, ctx uintptr, n int32, argv uintptr) {
	f := called[Function](lib.Xsqlite3_user_data(tls, ctx))
	answer(tls, ctx, f, func() (any, error) { return f.Scalar(arguments(tls, n, argv)) })
}

func callStep(tls *libc.TLS, ctx uintptr, n int32, argv uintptr) {
	if r, _ := aggregate(tls, ctx); r.agg != nil {
		guarded(tls, ctx, r.f, func() error { return r.agg.Step(arguments(tls, n, argv)) })
	}
}

func callInverse(tls *libc.TLS, ctx uintptr, n int32, argv uintptr) {
	if r, _ := aggregate(tls, ctx); r.agg != nil {
		guarded(tls, ctx, r.f, func() error { return r.agg.Inverse(arguments(tls, n, argv)) })
	}
}

func callValue(tls *libc.TLS, ctx uintptr) {
	if r, _ := aggregate(tls, ctx); r.agg != nil {
		answer(tls, ctx, r.f, r.agg.Value)
	}
}

func callFinal(tls *libc.TLS, ctx uintptr) {
	r, id := aggregate(tls, ctx)
	if r.agg != nil {
		answer(tls, ctx, r.f, r.agg.Value)
	}
	callbacks.drop(id)
}

// aggregate returns the evaluation that ctx belongs to. The first call creates it.
func aggregate(tls *libc.TLS, ctx uintptr) (r running, id uintptr) {
	p := lib.Xsqlite3_aggregate_context(tls, ctx, 8)
	if p == 0 {
		lib.Xsqlite3_result_error_nomem(tls, ctx)
		return running{}, 0
	}
	if cell := cmem.At[uintptr](p); *cell != 0 {
		return called[running](*cell), *cell
	}
	r.f = called[Function](lib.Xsqlite3_user_data(tls, ctx))
	guarded(tls, ctx, r.f, func() error { r.agg = r.f.Aggregate(); return nil })
	if r.agg == nil {
		fail(tls, ctx, fmt.Errorf("%s: its Aggregate made none", r.f.Name))
	}
	id = callbacks.keep(r)
	*cmem.At[uintptr](p) = id
	return r, id
}

func callCompare(_ *libc.TLS, id uintptr, n int32, a uintptr, m int32, b uintptr) int32 {
	switch d := called[collation](id).compare(string(CBytes(a, int(n))), string(CBytes(b, int(m)))); {
	case d < 0:
		return -1
	case d > 0:
		return 1
	}
	return 0
}

// guarded runs fn. A panic must not unwind SQLite, which would then hold its mutexes forever.
func guarded(tls *libc.TLS, ctx uintptr, f Function, fn func() error) {
	defer func() {
		if p := recover(); p != nil {
			fail(tls, ctx, fmt.Errorf("%s: panic: %v", f.Name, p))
		}
	}()
	if err := fn(); err != nil {
		fail(tls, ctx, fmt.Errorf("%s: %w", f.Name, err))
	}
}

func answer(tls *libc.TLS, ctx uintptr, f Function, fn func() (any, error)) {
	guarded(tls, ctx, f, func() error {
		v, err := fn()
		if err != nil {
			return err
		}
		return setResult(tls, ctx, v)
	})
}

func fail(tls *libc.TLS, ctx uintptr, err error) {
	z, cerr := libc.CString(err.Error())
	if cerr != nil {
		lib.Xsqlite3_result_error_nomem(tls, ctx)
		return
	}
	defer libc.Xfree(tls, z)
	lib.Xsqlite3_result_error(tls, ctx, z, -1)
}

// arguments copies values out of SQLite's memory.
func arguments(tls *libc.TLS, n int32, argv uintptr) []any {
	args := make([]any, n)
	for i := range args {
		v := *cmem.At[uintptr](argv + uintptr(i)*8)
		switch lib.Xsqlite3_value_type(tls, v) {
		case lib.SQLITE_INTEGER:
			args[i] = lib.Xsqlite3_value_int64(tls, v)
		case lib.SQLITE_FLOAT:
			args[i] = lib.Xsqlite3_value_double(tls, v)
		case lib.SQLITE_TEXT:
			p := lib.Xsqlite3_value_text(tls, v)
			args[i] = string(CBytes(p, int(lib.Xsqlite3_value_bytes(tls, v))))
		case lib.SQLITE_BLOB:
			p := lib.Xsqlite3_value_blob(tls, v)
			args[i] = append([]byte{}, CBytes(p, int(lib.Xsqlite3_value_bytes(tls, v)))...)
		}
	}
	return args
}

func setResult(tls *libc.TLS, ctx uintptr, v any) error {
	switch v := v.(type) {
	case nil:
		lib.Xsqlite3_result_null(tls, ctx)
	case bool:
		lib.Xsqlite3_result_int(tls, ctx, libc.Bool32(v))
	case int:
		lib.Xsqlite3_result_int64(tls, ctx, int64(v))
	case int64:
		lib.Xsqlite3_result_int64(tls, ctx, v)
	case float64:
		lib.Xsqlite3_result_double(tls, ctx, v)
	case string:
		withBytes(tls, []byte(v), func(p uintptr, n uint64) {
			lib.Xsqlite3_result_text64(tls, ctx, p, n, transient, lib.SQLITE_UTF8)
		})
	case []byte:
		withBytes(tls, v, func(p uintptr, n uint64) { lib.Xsqlite3_result_blob64(tls, ctx, p, n, transient) })
	default:
		return fmt.Errorf("its result is a %T; it must be nil, bool, int, int64, float64, string or []byte", v)
	}
	return nil
}

// withBytes calls fn with a copy of b in C memory.
func withBytes(tls *libc.TLS, b []byte, fn func(p uintptr, n uint64)) {
	p := libc.Xmalloc(tls, types.Size_t(len(b)+1)) // never 0 bytes: a NULL pointer means NULL
	defer libc.Xfree(tls, p)
	copy(CBytes(p, len(b)), b)
	fn(p, uint64(len(b)))
}
