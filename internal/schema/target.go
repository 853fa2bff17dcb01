package schema

import (
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"time"
)

// target is a field that is set from a row. The targets of the most common types are the
// fields' own memory, under a type that has the method: to set a field by reflection takes
// several times as long.
type target interface {
	set(row Row, i int) error
}

// as returns v, whose underlying type must be that of T, as a T.
func as[T any, P interface {
	*T
	target
}](v reflect.Value) target {
	return v.Addr().Convert(reflect.TypeFor[P]()).Interface().(target)
}

type textField string

func (f *textField) set(row Row, i int) error {
	if err := want(row, i, KindText); err != nil {
		return err
	}
	*f = textField(row.Text(i))
	return nil
}

type boolField bool

func (f *boolField) set(row Row, i int) error {
	n, err := readInt(row, i)
	if err != nil {
		return err
	}
	if n != 0 && n != 1 {
		return fmt.Errorf("%d is not a boolean (0 or 1)", n)
	}
	*f = n == 1
	return nil
}

type int64Field int64

func (f *int64Field) set(row Row, i int) error {
	n, err := readInt(row, i)
	if err == nil {
		*f = int64Field(n)
	}
	return err
}

type intField int

func (f *intField) set(row Row, i int) error {
	n, err := readInt(row, i)
	if err != nil {
		return err
	}
	if int64(int(n)) != n {
		return fmt.Errorf("%d overflows int", n)
	}
	*f = intField(n)
	return nil
}

type timeField time.Time

func (f *timeField) set(row Row, i int) error {
	n, err := readInt(row, i)
	if err == nil {
		*f = timeField(time.UnixMilli(n).UTC())
	}
	return err
}

// narrowField is a signed integer of any width.
type narrowField struct{ v reflect.Value }

func (f narrowField) set(row Row, i int) error {
	n, err := readInt(row, i)
	if err != nil {
		return err
	}
	if f.v.OverflowInt(n) {
		return fmt.Errorf("%d overflows %s", n, f.v.Type())
	}
	f.v.SetInt(n)
	return nil
}

type unsignedField struct{ v reflect.Value }

func (f unsignedField) set(row Row, i int) error {
	n, err := readInt(row, i)
	if err != nil {
		return err
	}
	if n < 0 || f.v.OverflowUint(uint64(n)) {
		return fmt.Errorf("%d overflows %s", n, f.v.Type())
	}
	f.v.SetUint(uint64(n))
	return nil
}

type floatField struct{ v reflect.Value }

func (f floatField) set(row Row, i int) error {
	n, err := readFloat(row, i)
	if err != nil {
		return err
	}
	if f.v.OverflowFloat(n) && !math.IsInf(n, 0) {
		return fmt.Errorf("%v overflows %s", n, f.v.Type())
	}
	f.v.SetFloat(n)
	return nil
}

type blobField struct{ v reflect.Value }

func (f blobField) set(row Row, i int) error {
	if err := want(row, i, KindBlob); err != nil {
		return err
	}
	f.v.SetBytes(row.Blob(i))
	return nil
}

// pointerField is nil for NULL.
type pointerField struct {
	v     reflect.Value
	elem  reflect.Type
	inner codec
}

func (f pointerField) set(row Row, i int) error {
	if row.Type(i) == KindNull {
		f.v.SetZero()
		return nil
	}
	p := reflect.New(f.elem)
	f.v.Set(p)
	return f.inner.target(p.Elem()).set(row, i)
}

// nullField is a sql.Null of some kind.
type nullField struct {
	v     reflect.Value
	inner target // its value
}

func (f nullField) set(row Row, i int) error {
	if row.Type(i) == KindNull {
		f.v.SetZero()
		return nil
	}
	f.v.Field(1).SetBool(true)
	return f.inner.set(row, i)
}

// jsonField is nil for NULL, if it is a pointer.
type jsonField struct{ v reflect.Value }

func (f jsonField) set(row Row, i int) error {
	f.v.SetZero() // Unmarshal would merge into the old value
	if row.Type(i) == KindNull && f.v.Kind() == reflect.Pointer {
		return nil
	}
	if err := want(row, i, KindText); err != nil {
		return err
	}
	return json.Unmarshal([]byte(row.Text(i)), f.v.Addr().Interface())
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

// readFloat reads a REAL, or an INTEGER that is exact as one: count(*), or a column of NUMERIC
// affinity.
func readFloat(row Row, i int) (float64, error) {
	switch row.Type(i) {
	case KindReal:
		return row.Float(i), nil
	case KindInteger:
		n := row.Int64(i)
		if n < -maxExact || n > maxExact {
			return 0, fmt.Errorf("%d is not exact as a float64", n)
		}
		return float64(n), nil
	}
	return 0, want(row, i, KindReal)
}
