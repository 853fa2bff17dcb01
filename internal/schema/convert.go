package schema

import (
	"database/sql/driver"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
	"time"
)

// maxExact is the largest magnitude up to which a float64 represents every whole number
// exactly. Beyond it, a number that came through a float64 (JSON without UseNumber) may
// have lost its last digits.
const maxExact = 1 << 53

// convert converts v to a value for a column of type t. v is a basic Go value of any named
// type, a pointer to one (nil is NULL), a driver.Valuer such as sql.Null, or what
// encoding/json decodes. The error is a reason, without table or column.
func (t Type) convert(v any) (Value, error) {
	if t == JSON {
		return marshal(v)
	}
	val, from, err := natural(v)
	if err != nil || val.Kind == KindNull || from == t {
		return val, err
	}
	switch {
	case (t == Integer || t == Time) && from == Real:
		if n, ok := whole(val.Real); ok {
			return integer(n), nil
		}
		return Value{}, fmt.Errorf("%v is not a whole number that a float64 holds exactly (decode JSON with UseNumber)", val.Real)
	case t == Time && from == Integer:
		return val, nil
	case t == Real && from == Integer:
		if val.Int < -maxExact || val.Int > maxExact {
			return Value{}, fmt.Errorf("%d is not exact as a REAL", val.Int)
		}
		return Value{Kind: KindReal, Real: float64(val.Int)}, nil
	case t == Boolean && from == Integer && (val.Int == 0 || val.Int == 1):
		return val, nil
	case t == Boolean && from == Real && (val.Real == 0 || val.Real == 1):
		return integer(int64(val.Real)), nil
	}
	return Value{}, fmt.Errorf("a %T does not fit %s", v, t.describe())
}

// whole returns f as an integer, if f is a whole number that is exact as a float64.
func whole(f float64) (int64, bool) {
	if f != math.Trunc(f) || math.Abs(f) > maxExact {
		return 0, false
	}
	return int64(f), true
}

// Arg converts v to an argument of a user's own statement. Booleans become 0 and 1, and
// times Unix milliseconds.
func Arg(v any) (Value, error) {
	val, _, err := natural(v)
	return val, err
}

// natural returns v as SQLite stores it, and the column type that corresponds to v's type.
func natural(v any) (Value, Type, error) {
	switch v := v.(type) {
	case nil:
		return null, 0, nil
	case string:
		return text(v), Text, nil
	case int:
		return integer(int64(v)), Integer, nil
	case int64:
		return integer(v), Integer, nil
	case bool:
		return boolean(v), Boolean, nil
	case float64:
		val, err := real64(v)
		return val, Real, err
	case []byte:
		return blob(v), Blob, nil
	case time.Time:
		val, err := millis(v)
		return val, Time, err
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return integer(n), Integer, nil
		}
		f, err := v.Float64()
		if err != nil {
			return Value{}, 0, fmt.Errorf("%q is not a number that SQLite can hold", v.String())
		}
		val, err := real64(f)
		return val, Real, err
	}
	return naturalKind(v)
}

// naturalKind is natural for named types, pointers and Valuers.
func naturalKind(v any) (Value, Type, error) {
	rv := reflect.ValueOf(v)
	if rv.Kind() == reflect.Pointer && rv.IsNil() {
		return null, 0, nil
	}
	if valuer, ok := v.(driver.Valuer); ok {
		inner, err := valuer.Value()
		if err != nil {
			return Value{}, 0, fmt.Errorf("the Value method of %T: %w", v, err)
		}
		if _, again := inner.(driver.Valuer); again {
			return Value{}, 0, fmt.Errorf("the Value method of %T returns no basic value", v)
		}
		return natural(inner)
	}
	if rv.Kind() == reflect.Pointer {
		return natural(rv.Elem().Interface())
	}
	c, err := plainCodec(rv.Type())
	if err != nil {
		return Value{}, 0, fmt.Errorf("a %T cannot be stored", v)
	}
	val, err := c.encode(rv)
	return val, c.typ, err
}

func blob(b []byte) Value {
	if b == nil {
		b = []byte{} // a nil slice is an empty blob; only an untyped nil is NULL
	}
	return Value{Kind: KindBlob, Blob: b}
}

func real64(f float64) (Value, error) {
	if math.IsNaN(f) {
		return Value{}, errors.New("NaN cannot be stored: SQLite would make it NULL")
	}
	return Value{Kind: KindReal, Real: f}, nil
}

// millis returns t in Unix milliseconds, truncated.
func millis(t time.Time) (Value, error) {
	ms := t.UnixMilli()
	if d := t.Sub(time.UnixMilli(ms)); d < 0 || d >= time.Millisecond {
		return Value{}, errors.New("the time is out of range for int64 milliseconds")
	}
	return integer(ms), nil
}

func marshal(v any) (Value, error) {
	if v == nil {
		return null, nil
	}
	if rv := reflect.ValueOf(v); rv.Kind() == reflect.Pointer && rv.IsNil() {
		return null, nil
	}
	b, err := json.Marshal(v)
	if err != nil {
		return Value{}, fmt.Errorf("as JSON: %w", err)
	}
	return text(string(b)), nil
}
