package rows

import (
	"reflect"

	"github.com/driftdb/driftdb-go/internal/schema"
)

// codec converts rows of a table, with all columns in the table's order, from and to a T.
// It is safe for concurrent use.
type codec[T any] interface {
	encode(v *T, row []schema.Value) error
	decode(row schema.Row, v *T) error
}

// structCodec is for structs.
type structCodec[T any] struct{ plan *schema.Struct }

func (c structCodec[T]) encode(v *T, row []schema.Value) error {
	return c.plan.Encode(reflect.ValueOf(v).Elem(), row)
}

func (c structCodec[T]) decode(row schema.Row, v *T) error {
	return c.plan.Decode(row, reflect.ValueOf(v).Elem())
}

// mapCodec is for maps from columns to values.
type mapCodec[T ~map[string]any] struct{ table *schema.Table }

func (c mapCodec[T]) encode(v *T, row []schema.Value) error {
	return c.table.EncodeRecord(*v, row)
}

func (c mapCodec[T]) decode(row schema.Row, v *T) error {
	*v = c.table.DecodeRecord(row)
	return nil
}
