package rows

import (
	"reflect"
	"sync"

	"github.com/driftdb/driftdb-go/internal/schema"
)

// codec converts rows of a table, with all columns in the table's order, from and to a T.
// It is safe for concurrent use.
type codec[T any] interface {
	encode(v T, row []schema.Value) error
	decode(row schema.Row) (T, error)

	// reader returns a function that decodes one row after the other, all into the same T:
	// for many rows it takes less time than decode. It is for one goroutine.
	reader() func(row schema.Row) (*T, error)
}

// structCodec is for structs. It converts each by way of a copy whose fields it knows.
type structCodec[T any] struct {
	plan   *schema.Struct
	copies sync.Pool // of *structCopy[T], all zero
}

type structCopy[T any] struct {
	v       T
	fields  []reflect.Value // of v
	targets schema.Targets  // of v
}

func structCodecOf[T any](plan *schema.Struct) *structCodec[T] {
	return &structCodec[T]{plan: plan, copies: sync.Pool{New: func() any { return newCopy[T](plan) }}}
}

func newCopy[T any](plan *schema.Struct) *structCopy[T] {
	c := new(structCopy[T])
	v := reflect.ValueOf(&c.v).Elem()
	c.fields, c.targets = plan.Fields(v), plan.Targets(v)
	return c
}

// done puts a copy back. After a panic, in a type's own methods, it is left to Go.
func (c *structCodec[T]) done(with *structCopy[T]) {
	var zero T
	with.v = zero // it would keep the row's memory
	c.copies.Put(with)
}

func (c *structCodec[T]) encode(v T, row []schema.Value) error {
	from := c.copies.Get().(*structCopy[T])
	from.v = v
	err := c.plan.Encode(from.fields, row)
	c.done(from)
	return err
}

func (c *structCodec[T]) decode(row schema.Row) (T, error) {
	into := c.copies.Get().(*structCopy[T])
	err := c.plan.Decode(row, into.targets)
	v := into.v
	c.done(into)
	return v, err
}

func (c *structCodec[T]) reader() func(schema.Row) (*T, error) {
	into := newCopy[T](c.plan)
	return func(row schema.Row) (*T, error) { return &into.v, c.plan.Decode(row, into.targets) }
}

// mapCodec is for maps from columns to values.
type mapCodec[T ~map[string]any] struct{ table *schema.Table }

func (c mapCodec[T]) encode(v T, row []schema.Value) error { return c.table.EncodeRecord(v, row) }

func (c mapCodec[T]) decode(row schema.Row) (T, error) { return c.table.DecodeRecord(row), nil }

func (c mapCodec[T]) reader() func(schema.Row) (*T, error) {
	var v T
	return func(row schema.Row) (*T, error) {
		v = c.table.DecodeRecord(row)
		return &v, nil
	}
}
