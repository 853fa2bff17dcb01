package schema

import (
	"fmt"
	"reflect"
	"sync"
	"time"
)

// Struct is how a struct type is stored: its columns, in the order of its fields with
// embedded structs flattened, and how to convert values.
type Struct struct {
	Columns []Column
	fields  []field
	byName  map[string]int
}

type field struct {
	codec
	name     string
	index    []int // as in reflect.Value.FieldByIndex
	omitZero bool  // the column's default replaces a zero value
}

var structs sync.Map // reflect.Type -> *Struct

// StructOf returns the plan of a struct type, created once per type. The error is an
// *Error without a table.
func StructOf(t reflect.Type) (*Struct, error) {
	if s, ok := structs.Load(t); ok {
		return s.(*Struct), nil
	}
	s := &Struct{byName: make(map[string]int)}
	if err := s.add(t, nil); err != nil {
		return nil, err
	}
	if len(s.fields) == 0 {
		return nil, &Error{Reason: fmt.Sprintf("%s has no exported field to store", t)}
	}
	for i, f := range s.fields {
		if _, ok := s.byName[f.name]; ok {
			return nil, &Error{Column: f.name, Reason: fmt.Sprintf("two fields of %s have this name", t)}
		}
		s.byName[f.name] = i
	}
	structs.Store(t, s)
	return s, nil
}

// add appends the fields of t, which is at index in the outermost struct.
func (s *Struct) add(t reflect.Type, index []int) error {
	for i := range t.NumField() {
		sf := t.Field(i)
		at := append(append([]int{}, index...), i)
		tag, tagged := sf.Tag.Lookup("db")
		if tag == "-" || !sf.IsExported() && !sf.Anonymous {
			continue
		}
		if sf.Anonymous && !tagged && flattens(sf.Type) {
			if err := s.add(sf.Type, at); err != nil {
				return err
			}
			continue
		}
		if !sf.IsExported() {
			continue
		}
		if err := s.addField(sf, tag, at); err != nil {
			return err
		}
	}
	return nil
}

// flattens reports whether an embedded field is a group of fields rather than a value.
func flattens(t reflect.Type) bool {
	return t.Kind() == reflect.Struct && t != timeType && !isNull(t)
}

func (s *Struct) addField(sf reflect.StructField, tag string, at []int) error {
	opts, err := parseTag(tag)
	if err != nil {
		return &Error{Column: sf.Name, Reason: "its db tag: " + err.Error()}
	}
	col := Column{Name: opts.name, Unique: opts.unique, Index: opts.index}
	if col.Name == "" {
		col.Name = LowerCamel(sf.Name)
	}
	f := field{name: col.Name, index: at, omitZero: opts.omitZero}
	if opts.json {
		f.codec = jsonCodec(sf.Type)
	} else if f.codec, err = codecOf(sf.Type); err != nil {
		return &Error{Column: col.Name, Reason: err.Error()}
	}
	col.Type, col.Required = f.typ, !f.nullable
	if opts.hasDefault {
		if col.Default, err = f.typ.parseDefault(opts.def); err != nil {
			return &Error{Column: col.Name, Reason: "its db tag: default: " + err.Error()}
		}
	}
	switch col.Name {
	case ID, CreatedAt, UpdatedAt: // filled in when they are not given
		f.omitZero = true
	}
	s.Columns = append(s.Columns, col)
	s.fields = append(s.fields, f)
	return nil
}

// Fields returns the fields of the struct v, in the order of the columns, for Encode. To look
// a field up by its index takes longer than to read or set it, so whoever converts many rows
// does it by way of one value.
func (s *Struct) Fields(v reflect.Value) []reflect.Value {
	out := make([]reflect.Value, len(s.fields))
	for i := range s.fields {
		out[i] = v.FieldByIndex(s.fields[i].index)
	}
	return out
}

// Targets are fields of one struct value that rows are decoded into.
type Targets []target

// Targets returns the fields of the struct v, which must be addressable, in the order of the
// columns.
func (s *Struct) Targets(v reflect.Value) Targets {
	out := make(Targets, len(s.fields))
	for i := range s.fields {
		out[i] = s.fields[i].in(v)
	}
	return out
}

// in returns the field of the struct v.
func (f *field) in(v reflect.Value) target { return f.target(v.FieldByIndex(f.index)) }

// Encode fills values, one per column, from the fields of a struct. A value that is left to
// the column's default is Absent.
func (s *Struct) Encode(from []reflect.Value, values []Value) error {
	for i := range s.fields {
		f := &s.fields[i]
		if f.omitZero && f.isZero(from[i]) {
			values[i] = Value{}
			continue
		}
		val, err := f.encode(from[i])
		if err != nil {
			return &Error{Column: f.name, Reason: err.Error()}
		}
		values[i] = val
	}
	return nil
}

// Decode sets the fields of a struct from a row that has the columns of s in order.
func (s *Struct) Decode(row Row, into Targets) error {
	for i, t := range into {
		if err := t.set(row, i); err != nil {
			return &Error{Column: s.fields[i].name, Reason: err.Error()}
		}
	}
	return nil
}

// Result is the plan for reading a query's rows into a struct.
type Result struct {
	fields []*field // by column
}

// Result matches the columns of a query to the struct's fields by name.
func (s *Struct) Result(columns []string) (*Result, error) {
	if err := distinct(columns); err != nil {
		return nil, err
	}
	r := &Result{fields: make([]*field, len(columns))}
	for i, name := range columns {
		at, ok := s.byName[name]
		if !ok {
			return nil, &Error{Column: name, Reason: "the struct has no field for it: rename it with AS, or add the field"}
		}
		r.fields[i] = &s.fields[at]
	}
	return r, nil
}

// Targets returns the fields of the struct v, which must be addressable, by column.
func (r *Result) Targets(v reflect.Value) Targets {
	out := make(Targets, len(r.fields))
	for i, f := range r.fields {
		out[i] = f.in(v)
	}
	return out
}

// Decode sets the fields of a struct.
func (r *Result) Decode(row Row, into Targets) error {
	for i, t := range into {
		if err := t.set(row, i); err != nil {
			return &Error{Column: r.fields[i].name, Reason: err.Error()}
		}
	}
	return nil
}

// distinct returns an error if two columns of a result have the same name, because one
// would overwrite the other.
func distinct(columns []string) error {
	seen := make(map[string]bool, len(columns))
	for _, name := range columns {
		if seen[name] {
			return &Error{Column: name, Reason: "the result has two columns of this name: rename one with AS"}
		}
		seen[name] = true
	}
	return nil
}

func (f *field) isZero(v reflect.Value) bool {
	if f.typ == Time && v.Type() == timeType {
		t, _ := reflect.TypeAssert[time.Time](v)
		return t.IsZero() // in any location
	}
	return v.IsZero()
}

// Scalar is the plan for reading a single value that is not a struct.
type Scalar struct{ codec codec }

// ScalarOf returns the plan of a type that fits into one column.
func ScalarOf(t reflect.Type) (Scalar, error) {
	c, err := codecOf(t)
	if err != nil {
		return Scalar{}, &Error{Reason: fmt.Sprintf("rows cannot be read into %s: only into a struct, a Record or a basic type", t)}
	}
	return Scalar{c}, nil
}

// Targets returns v, which must be addressable, for the only column of a row.
func (s Scalar) Targets(v reflect.Value) Targets { return Targets{s.codec.target(v)} }

// Decode sets the value.
func (s Scalar) Decode(row Row, into Targets) error {
	if err := into[0].set(row, 0); err != nil {
		return &Error{Reason: "the value: " + err.Error()}
	}
	return nil
}

// IsStruct reports whether t is read field by field rather than as one value.
func IsStruct(t reflect.Type) bool { return flattens(t) }
