package schema

// Kinds of values, as SQLite numbers them. Absent is DriftDB's own: no value is given, and
// the column's default applies.
const (
	KindAbsent  = 0
	KindInteger = 1
	KindReal    = 2
	KindText    = 3
	KindBlob    = 4
	KindNull    = 5
)

// kindNames are for messages.
var kindNames = [...]string{"nothing", "INTEGER", "REAL", "TEXT", "BLOB", "NULL"}

// Value is one SQLite value. Only the field that Kind names is used.
type Value struct {
	Kind int
	Int  int64
	Real float64
	Text string
	Blob []byte
}

// null is SQL's NULL.
var null = Value{Kind: KindNull}

func integer(n int64) Value { return Value{Kind: KindInteger, Int: n} }
func text(s string) Value   { return Value{Kind: KindText, Text: s} }

func boolean(b bool) Value {
	if b {
		return integer(1)
	}
	return integer(0)
}

// Binder takes the parameters of a statement, counted from 1.
type Binder interface {
	BindNull(i int)
	BindInt64(i int, v int64)
	BindFloat(i int, v float64)
	BindText(i int, v string)
	BindBlob(i int, v []byte)
}

// Bind binds values to the parameters first, first+1, … Absent is bound as
// NULL.
func Bind(b Binder, first int, values []Value) {
	for i := range values {
		v, at := &values[i], first+i
		switch v.Kind {
		case KindInteger:
			b.BindInt64(at, v.Int)
		case KindReal:
			b.BindFloat(at, v.Real)
		case KindText:
			b.BindText(at, v.Text)
		case KindBlob:
			b.BindBlob(at, v.Blob)
		default:
			b.BindNull(at)
		}
	}
}

// Row is a row of a result; columns are counted from 0. Type is one of
// KindInteger to KindNull. Text and Blob return copies.
type Row interface {
	Type(i int) int
	Int64(i int) int64
	Float(i int) float64
	Text(i int) string
	Blob(i int) []byte
}

// Tuple is a Row of values in memory. It decodes the values just bound as the stored row,
// without asking the database.
type Tuple []Value

// Type is the kind of column i; an absent value reads as NULL.
func (t Tuple) Type(i int) int {
	if t[i].Kind == KindAbsent {
		return KindNull
	}
	return t[i].Kind
}

// Int64 is the INTEGER in column i.
func (t Tuple) Int64(i int) int64 { return t[i].Int }

// Float is the REAL in column i.
func (t Tuple) Float(i int) float64 { return t[i].Real }

// Text is the TEXT in column i.
func (t Tuple) Text(i int) string { return t[i].Text }

// Blob is a copy of the BLOB in column i.
func (t Tuple) Blob(i int) []byte { return append([]byte{}, t[i].Blob...) }

// anyOf returns the value in column i as int64, float64, string, []byte or nil.
func anyOf(row Row, i int) any {
	switch row.Type(i) {
	case KindInteger:
		return row.Int64(i)
	case KindReal:
		return row.Float(i)
	case KindText:
		return row.Text(i)
	case KindBlob:
		return row.Blob(i)
	default:
		return nil
	}
}
