package schema

import (
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
	target   func(v reflect.Value) target // v must be addressable
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
	target: as[textField],
}

var blobCodec = codec{
	typ:    Blob,
	encode: func(v reflect.Value) (Value, error) { return blob(v.Bytes()), nil },
	target: func(v reflect.Value) target { return blobField{v} },
}

var boolCodec = codec{
	typ:    Boolean,
	encode: func(v reflect.Value) (Value, error) { return boolean(v.Bool()), nil },
	target: as[boolField],
}

var intCodec = codec{
	typ:    Integer,
	encode: func(v reflect.Value) (Value, error) { return integer(v.Int()), nil },
	target: func(v reflect.Value) target {
		switch v.Kind() {
		case reflect.Int:
			return as[intField](v)
		case reflect.Int64:
			return as[int64Field](v)
		}
		return narrowField{v}
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
	target: func(v reflect.Value) target { return unsignedField{v} },
}

var floatCodec = codec{
	typ:    Real,
	encode: func(v reflect.Value) (Value, error) { return real64(v.Float()) },
	target: func(v reflect.Value) target { return floatField{v} },
}

var timeCodec = codec{
	typ: Time,
	encode: func(v reflect.Value) (Value, error) {
		t, _ := reflect.TypeAssert[time.Time](v)
		return millis(t)
	},
	target: as[timeField],
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
		target: func(v reflect.Value) target { return pointerField{v, t.Elem(), inner} },
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
		target: func(v reflect.Value) target { return nullField{v, inner.target(v.Field(0))} },
	}
}

// jsonCodec stores any type as JSON text, and a nil pointer as NULL.
func jsonCodec(t reflect.Type) codec {
	return codec{
		typ:      JSON,
		nullable: t.Kind() == reflect.Pointer,
		encode:   func(v reflect.Value) (Value, error) { return marshal(v.Interface()) },
		target:   func(v reflect.Value) target { return jsonField{v} },
	}
}
