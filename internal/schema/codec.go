package schema

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strings"
	"time"
)

// codec converts one Go type to a Value and back from a Row. Whatever depends only on the
// type is decided when the codec is created, not for each row.
type codec struct {
	typ      Type
	nullable bool
	encode   func(v reflect.Value) (Value, error)
	decode   func(row Row, i int, v reflect.Value) error
}

var (
	timeType = reflect.TypeFor[time.Time]()

	errNull = errors.New("it is NULL, which the Go type cannot hold: use a pointer or sql.Null")
)

// codecOf returns the codec of a field's type: a plain type, a pointer to one, or a
// sql.Null of one.
func codecOf(t reflect.Type) (codec, error) {
	if t.Kind() == reflect.Pointer {
		inner, err := plainCodec(t.Elem())
		return pointerCodec(t, inner), err
	}
	if isNull(t) {
		inner, err := plainCodec(t.Field(0).Type)
		return nullCodec(inner), err
	}
	return plainCodec(t)
}

// plainCodec returns the codec of a type that is stored as one value, never as NULL.
func plainCodec(t reflect.Type) (codec, error) {
	switch t.Kind() {
	case reflect.String:
		return textCodec, nil
	case reflect.Bool:
		return boolCodec, nil
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return intCodec, nil
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return uintCodec, nil
	case reflect.Float32, reflect.Float64:
		return floatCodec, nil
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			return blobCodec, nil
		}
	}
	if t == timeType {
		return timeCodec, nil
	}
	return codec{}, fmt.Errorf("%s is not a column type: tag the field json, or - to leave it out", t)
}

var textCodec = codec{
	typ:    Text,
	encode: func(v reflect.Value) (Value, error) { return text(v.String()), nil },
	decode: func(row Row, i int, v reflect.Value) error {
		if err := want(row, i, KindText); err != nil {
			return err
		}
		v.SetString(row.Text(i))
		return nil
	},
}

var blobCodec = codec{
	typ:    Blob,
	encode: func(v reflect.Value) (Value, error) { return blob(v.Bytes()), nil },
	decode: func(row Row, i int, v reflect.Value) error {
		if err := want(row, i, KindBlob); err != nil {
			return err
		}
		v.SetBytes(row.Blob(i))
		return nil
	},
}

var boolCodec = codec{
	typ:    Boolean,
	encode: func(v reflect.Value) (Value, error) { return boolean(v.Bool()), nil },
	decode: func(row Row, i int, v reflect.Value) error {
		n, err := readInt(row, i)
		if err != nil {
			return err
		}
		if n != 0 && n != 1 {
			return fmt.Errorf("%d is not a boolean (0 or 1)", n)
		}
		v.SetBool(n == 1)
		return nil
	},
}

var intCodec = codec{
	typ:    Integer,
	encode: func(v reflect.Value) (Value, error) { return integer(v.Int()), nil },
	decode: func(row Row, i int, v reflect.Value) error {
		n, err := readInt(row, i)
		if err != nil {
			return err
		}
		if v.OverflowInt(n) {
			return fmt.Errorf("%d overflows %s", n, v.Type())
		}
		v.SetInt(n)
		return nil
	},
}

var uintCodec = codec{
	typ: Integer,
	encode: func(v reflect.Value) (Value, error) {
		n := v.Uint()
		if n > math.MaxInt64 {
			return Value{}, fmt.Errorf("%d overflows INTEGER, which is signed", n)
		}
		return integer(int64(n)), nil
	},
	decode: func(row Row, i int, v reflect.Value) error {
		n, err := readInt(row, i)
		if err != nil {
			return err
		}
		if n < 0 || v.OverflowUint(uint64(n)) {
			return fmt.Errorf("%d overflows %s", n, v.Type())
		}
		v.SetUint(uint64(n))
		return nil
	},
}

var floatCodec = codec{
	typ:    Real,
	encode: func(v reflect.Value) (Value, error) { return real64(v.Float()) },
	decode: func(row Row, i int, v reflect.Value) error {
		var f float64
		switch row.Type(i) {
		case KindReal:
			f = row.Float(i)
		case KindInteger: // count(*), or a column of NUMERIC affinity
			n := row.Int64(i)
			if n < -maxExact || n > maxExact {
				return fmt.Errorf("%d is not exact as a float64", n)
			}
			f = float64(n)
		default:
			return want(row, i, KindReal)
		}
		if v.OverflowFloat(f) && !math.IsInf(f, 0) {
			return fmt.Errorf("%v overflows %s", f, v.Type())
		}
		v.SetFloat(f)
		return nil
	},
}

var timeCodec = codec{
	typ: Time,
	encode: func(v reflect.Value) (Value, error) {
		t, _ := reflect.TypeAssert[time.Time](v)
		return millis(t)
	},
	decode: func(row Row, i int, v reflect.Value) error {
		n, err := readInt(row, i)
		if err != nil {
			return err
		}
		*v.Addr().Interface().(*time.Time) = time.UnixMilli(n).UTC()
		return nil
	},
}

// pointerCodec stores nil as NULL.
func pointerCodec(t reflect.Type, inner codec) codec {
	return codec{
		typ:      inner.typ,
		nullable: true,
		encode: func(v reflect.Value) (Value, error) {
			if v.IsNil() {
				return null, nil
			}
			return inner.encode(v.Elem())
		},
		decode: func(row Row, i int, v reflect.Value) error {
			if row.Type(i) == KindNull {
				v.SetZero()
				return nil
			}
			p := reflect.New(t.Elem())
			v.Set(p)
			return inner.decode(row, i, p.Elem())
		},
	}
}

// isNull reports whether t is sql.Null[T] or one of its older, specific forms such as
// sql.NullString. All of them are a value followed by Valid.
func isNull(t reflect.Type) bool {
	return t.Kind() == reflect.Struct && t.PkgPath() == "database/sql" &&
		strings.HasPrefix(t.Name(), "Null") && t.NumField() == 2 && t.Field(1).Name == "Valid"
}

func nullCodec(inner codec) codec {
	return codec{
		typ:      inner.typ,
		nullable: true,
		encode: func(v reflect.Value) (Value, error) {
			if !v.Field(1).Bool() {
				return null, nil
			}
			return inner.encode(v.Field(0))
		},
		decode: func(row Row, i int, v reflect.Value) error {
			if row.Type(i) == KindNull {
				v.SetZero()
				return nil
			}
			v.Field(1).SetBool(true)
			return inner.decode(row, i, v.Field(0))
		},
	}
}

// jsonCodec stores any type as JSON text, and a nil pointer as NULL.
func jsonCodec(t reflect.Type) codec {
	return codec{
		typ:      JSON,
		nullable: t.Kind() == reflect.Pointer,
		encode:   func(v reflect.Value) (Value, error) { return marshal(v.Interface()) },
		decode: func(row Row, i int, v reflect.Value) error {
			v.SetZero() // Unmarshal would merge into the old value
			if row.Type(i) == KindNull && t.Kind() == reflect.Pointer {
				return nil
			}
			if err := want(row, i, KindText); err != nil {
				return err
			}
			return json.Unmarshal([]byte(row.Text(i)), v.Addr().Interface())
		},
	}
}

// want returns an error if a value is not of this kind.
func want(row Row, i, kind int) error {
	got := row.Type(i)
	if got == kind {
		return nil
	}
	if got == KindNull {
		return errNull
	}
	return fmt.Errorf("it holds %s, not %s", kindNames[got], kindNames[kind])
}

// readInt reads an INTEGER, or a REAL that is a whole number.
func readInt(row Row, i int) (int64, error) {
	switch row.Type(i) {
	case KindInteger:
		return row.Int64(i), nil
	case KindReal:
		if n, ok := whole(row.Float(i)); ok {
			return n, nil
		}
	}
	return 0, want(row, i, KindInteger)
}
