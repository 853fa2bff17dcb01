package schema_test

import (
	"database/sql"
	"errors"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/driftdb/driftdb-go/internal/schema"
	"github.com/driftdb/driftdb-go/internal/sqlite"
	"pgregory.net/rapid"
)

type base struct {
	ID        string    `db:"id"`
	CreatedAt time.Time `db:"createdAt"`
	UpdatedAt time.Time `db:"updatedAt"`
}

type role string

type Address struct {
	Street  string
	ZIPCode *int32
}

type doc struct {
	Words []string
	By    map[string]int
}

type everything struct {
	base
	Text     string
	Role     role `db:"role,index"`
	Int      int
	Int8     int8
	Uint32   uint32
	Uint64   uint64
	Float    float64
	Float32  float32
	Bool     bool
	Bytes    []byte
	When     time.Time
	Duration time.Duration
	Doc      doc  `db:",json"`
	DocPtr   *doc `db:",json"`
	TextPtr  *string
	BoolPtr  *bool
	BytesPtr *[]byte
	WhenPtr  *time.Time
	Null     sql.Null[int64]
	NullTime sql.Null[time.Time]
	NullStr  sql.NullString
	Address
	Default string `db:"def,omitzero,default='a, ''b'''"`
	Skipped string `db:"-"`
	hidden  string // not a column either
}

func TestStructColumns(t *testing.T) {
	s, err := schema.StructOf(reflect.TypeFor[everything]())
	if err != nil {
		t.Fatal(err)
	}
	var got strings.Builder
	for _, c := range s.Columns {
		fmt.Fprintf(&got, "%s %s", c.Name, c.Type.SQL())
		if c.Required {
			got.WriteString("!")
		}
		if c.Index {
			got.WriteString(" index")
		}
		if c.Default != nil {
			fmt.Fprintf(&got, " default %v", c.Default)
		}
		got.WriteString("; ")
	}
	const want = "id TEXT!; createdAt INTEGER!; updatedAt INTEGER!; text TEXT!; role TEXT! index; int INTEGER!; int8 INTEGER!; " +
		"uint32 INTEGER!; uint64 INTEGER!; float REAL!; float32 REAL!; bool BOOLEAN!; bytes BLOB!; when INTEGER!; duration INTEGER!; " +
		"doc TEXT!; docPtr TEXT; textPtr TEXT; boolPtr BOOLEAN; bytesPtr BLOB; whenPtr INTEGER; null INTEGER; nullTime INTEGER; nullStr TEXT; " +
		"street TEXT!; zipCode INTEGER; def TEXT! default a, 'b'; "
	if got.String() != want {
		t.Errorf("got  %s\nwant %s", got.String(), want)
	}
	if again, _ := schema.StructOf(reflect.TypeFor[everything]()); again != s {
		t.Error("the plan was made twice")
	}
}

func TestStructRefuses(t *testing.T) {
	for _, tc := range []struct {
		typ            any
		column, reason string
	}{
		{struct{}{}, "", "no exported field"},
		{struct{ A chan int }{}, "a", "not a column type"},
		{struct{ A struct{ B int } }{}, "a", "json"},
		{struct{ A **int }{}, "a", "not a column type"},
		{struct{ A *sql.Null[int] }{}, "a", "not a column type"},
		{struct{ *Address }{}, "address", "not a column type"},
		{struct {
			A int
			B int `db:"a"`
		}{}, "a", "two fields"},
		{struct {
			A int `db:"a,primary"`
		}{}, "A", "unknown option"},
		{struct {
			A int `db:",default=x"`
		}{}, "a", "default"},
		{struct {
			A bool `db:",default=maybe"`
		}{}, "a", "default"},
		{struct {
			A string `db:",default='x"`
		}{}, "A", "no end"},
		{struct {
			A []int `db:",json,default=["`
		}{}, "a", "not JSON"},
	} {
		_, err := schema.StructOf(reflect.TypeOf(tc.typ))
		wantError(t, err, "", tc.column, tc.reason)
	}
}

func TestNames(t *testing.T) {
	type names struct {
		ID, UserID, URL, HTTPPort, APIKeyID, Name2, A, AB, OAuth2Token, Éclair int
		X_Y                                                                    int
	}
	s, err := schema.StructOf(reflect.TypeFor[names]())
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, c := range s.Columns {
		got = append(got, c.Name)
	}
	want := []string{"id", "userId", "url", "httpPort", "apiKeyId", "name2", "a", "ab", "oAuth2Token", "éclair", "x_Y"}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func genEverything() *rapid.Generator[everything] {
	ms := rapid.Custom(func(t *rapid.T) time.Time {
		return time.UnixMilli(rapid.Int64Range(-1<<55, 1<<55).Draw(t, "ms")).UTC()
	})
	docs := rapid.Make[doc]()
	return rapid.Custom(func(t *rapid.T) everything {
		e := everything{
			base:     base{rapid.String().Draw(t, "id"), ms.Draw(t, "c"), ms.Draw(t, "u")},
			Text:     rapid.OneOf(rapid.String(), rapid.Just("a\x00b"), rapid.Just("\xff")).Draw(t, "text"),
			Role:     role(rapid.String().Draw(t, "role")),
			Int:      rapid.Int().Draw(t, "int"),
			Int8:     rapid.Int8().Draw(t, "int8"),
			Uint32:   rapid.Uint32().Draw(t, "uint32"),
			Uint64:   rapid.Uint64Max(math.MaxInt64).Draw(t, "uint64"),
			Float:    rapid.Float64().Draw(t, "float"),
			Float32:  rapid.Float32().Draw(t, "float32"),
			Bool:     rapid.Bool().Draw(t, "bool"),
			Bytes:    rapid.SliceOf(rapid.Byte()).Draw(t, "bytes"),
			When:     ms.Draw(t, "when"),
			Duration: time.Duration(rapid.Int64().Draw(t, "duration")),
			Doc:      docs.Draw(t, "doc"),
			DocPtr:   rapid.Ptr(docs, true).Draw(t, "docPtr"),
			TextPtr:  rapid.Ptr(rapid.String(), true).Draw(t, "textPtr"),
			BoolPtr:  rapid.Ptr(rapid.Bool(), true).Draw(t, "boolPtr"),
			BytesPtr: rapid.Ptr(rapid.SliceOf(rapid.Byte()), true).Draw(t, "bytesPtr"),
			WhenPtr:  rapid.Ptr(ms, true).Draw(t, "whenPtr"),
			Address:  Address{rapid.String().Draw(t, "street"), rapid.Ptr(rapid.Int32(), true).Draw(t, "zip")},
			Default:  rapid.StringN(1, 5, -1).Draw(t, "def"),
		}
		if rapid.Bool().Draw(t, "valid") {
			e.Null = sql.Null[int64]{V: rapid.Int64().Draw(t, "null"), Valid: true}
			e.NullTime = sql.Null[time.Time]{V: ms.Draw(t, "nullTime"), Valid: true}
			e.NullStr = sql.NullString{String: rapid.String().Draw(t, "nullStr"), Valid: true}
		}
		return e
	})
}

// What is stored comes back: from the database, and from the values alone.
func TestStructRoundTrip(t *testing.T) {
	c := openDB(t)
	s, err := schema.StructOf(reflect.TypeFor[everything]())
	if err != nil {
		t.Fatal(err)
	}
	tab, err := schema.New("everything", s.Columns)
	if err != nil {
		t.Fatal(err)
	}
	exec(t, c, tab.Create()...)
	rapid.Check(t, func(t *rapid.T) {
		in := genEverything().Draw(t, "in")
		if in.ID == "" || in.CreatedAt.IsZero() || in.UpdatedAt.IsZero() {
			t.Skip("absent")
		}
		row := make([]schema.Value, len(s.Columns))
		if err := s.Encode(s.Fields(reflect.ValueOf(&in).Elem()), row); err != nil {
			t.Fatal(err)
		}
		exec(t, c, "DELETE FROM everything")
		run(t, c, schema.Statement{SQL: tab.InsertComplete(), Args: row}, nil)
		var stored, known everything
		run(t, c, tab.SelectByID(in.ID), func(st *sqlite.Stmt) error {
			return s.Decode(st, s.Targets(reflect.ValueOf(&stored).Elem()))
		})
		if err := s.Decode(schema.Tuple(row), s.Targets(reflect.ValueOf(&known).Elem())); err != nil {
			t.Fatal(err)
		}
		if !reflect.DeepEqual(stored, known) {
			t.Fatalf("stored %+v, known %+v", stored, known)
		}
		if want := settled(in); !reflect.DeepEqual(stored, want) {
			t.Fatalf("got %+v, want %+v", stored, want)
		}
	})
}

// settled is what a value is like after it was stored: byte slices that were
// nil are empty, and JSON text is valid UTF-8 with no nil but null.
func settled(e everything) everything {
	if e.Bytes == nil {
		e.Bytes = []byte{}
	}
	if e.BytesPtr != nil && *e.BytesPtr == nil {
		e.BytesPtr = &[]byte{}
	}
	return e
}

// What a field held before does not shine through.
func TestDecodeReplaces(t *testing.T) {
	type tagged struct {
		M map[string]int `db:",json"`
		P *doc           `db:",json"`
		N sql.Null[int64]
	}
	s, err := schema.StructOf(reflect.TypeFor[tagged]())
	if err != nil {
		t.Fatal(err)
	}
	v := tagged{map[string]int{"old": 1}, &doc{Words: []string{"old"}}, sql.Null[int64]{V: 1, Valid: true}}
	row := schema.Tuple{{Kind: schema.KindText, Text: `{"new":2}`}, {Kind: schema.KindNull}, {Kind: schema.KindNull}}
	if err := s.Decode(row, s.Targets(reflect.ValueOf(&v).Elem())); err != nil {
		t.Fatal(err)
	}
	if want := (tagged{M: map[string]int{"new": 2}}); !reflect.DeepEqual(v, want) {
		t.Errorf("got %+v, want %+v", v, want)
	}
}

// Fields that are left to the database are absent, and the others are not.
func TestOmitZero(t *testing.T) {
	type omits struct {
		base
		A int       `db:",omitzero"`
		B *int      `db:",omitzero"`
		C time.Time `db:",omitzero"`
		D *int
		E int
	}
	s, err := schema.StructOf(reflect.TypeFor[omits]())
	if err != nil {
		t.Fatal(err)
	}
	v := omits{C: time.Time{}.In(time.FixedZone("x", 3600))}
	row := make([]schema.Value, len(s.Columns))
	if err := s.Encode(s.Fields(reflect.ValueOf(&v).Elem()), row); err != nil {
		t.Fatal(err)
	}
	var kinds []int
	for _, v := range row {
		kinds = append(kinds, v.Kind)
	}
	if want := []int{0, 0, 0, 0, 0, 0, schema.KindNull, schema.KindInteger}; !slices.Equal(kinds, want) {
		t.Errorf("got %v, want %v", kinds, want)
	}
}

func TestEncodeRefuses(t *testing.T) {
	type bad struct {
		F *float64
		U uint64
		T time.Time
		J any `db:",json"`
	}
	s, err := schema.StructOf(reflect.TypeFor[bad]())
	if err != nil {
		t.Fatal(err)
	}
	nan := math.NaN()
	for _, tc := range []struct {
		v              bad
		column, reason string
	}{
		{bad{F: &nan}, "f", "NaN"},
		{bad{U: math.MaxUint64}, "u", "overflows"},
		{bad{T: time.Unix(math.MaxInt64/2, 0)}, "t", "out of range"},
		{bad{J: func() {}}, "j", "JSON"},
	} {
		err := s.Encode(s.Fields(reflect.ValueOf(&tc.v).Elem()), make([]schema.Value, len(s.Columns)))
		wantError(t, err, "", tc.column, tc.reason)
	}
}

// Values that the Go type cannot hold are errors, never something near.
func TestDecodeRefuses(t *testing.T) {
	var (
		i8  int8
		u   uint
		i64 int64
		f   float64
		f32 float32
		b   bool
		s   string
		raw []byte
		at  time.Time
	)
	intValue := func(n int64) schema.Value { return schema.Value{Kind: schema.KindInteger, Int: n} }
	realValue := func(f float64) schema.Value { return schema.Value{Kind: schema.KindReal, Real: f} }
	textValue := schema.Value{Kind: schema.KindText, Text: "x"}
	for _, tc := range []struct {
		into   any
		v      schema.Value
		reason string
	}{
		{&i8, intValue(128), "overflows int8"},
		{&u, intValue(-1), "overflows uint"},
		{&i64, realValue(1.5), "it holds REAL, not INTEGER"},
		{&i64, textValue, "it holds TEXT"},
		{&f, intValue(1<<53 + 1), "not exact"},
		{&f32, realValue(1e300), "overflows float32"},
		{&b, intValue(2), "not a boolean"},
		{&s, intValue(1), "it holds INTEGER, not TEXT"},
		{&s, schema.Value{Kind: schema.KindNull}, "NULL"},
		{&raw, textValue, "it holds TEXT, not BLOB"},
		{&at, textValue, "it holds TEXT, not INTEGER"},
	} {
		plan, err := schema.ScalarOf(reflect.TypeOf(tc.into).Elem())
		if err != nil {
			t.Fatal(err)
		}
		err = plan.Decode(schema.Tuple{tc.v}, plan.Targets(reflect.ValueOf(tc.into).Elem()))
		wantError(t, err, "", "", tc.reason)
	}
	if _, err := schema.ScalarOf(reflect.TypeFor[map[string]int]()); !errors.As(err, new(*schema.Error)) {
		t.Errorf("a map was taken for a scalar: %v", err)
	}
}

func FuzzTag(f *testing.F) {
	f.Add("name,unique,index,omitzero,json,default=x")
	f.Add(",default='a, ''b''',index")
	f.Add("-")
	f.Fuzz(func(t *testing.T, tag string) {
		field := reflect.StructField{Name: "A", Type: reflect.TypeFor[string](), Tag: reflect.StructTag(fmt.Sprintf("db:%q", tag))}
		s, err := schema.StructOf(reflect.StructOf([]reflect.StructField{field}))
		if err != nil {
			if _, ok := errors.AsType[*schema.Error](err); !ok {
				t.Fatalf("%T: %v", err, err)
			}
			return
		}
		if len(s.Columns) != 1 || s.Columns[0].Name == "" {
			t.Fatalf("%+v", s.Columns)
		}
	})
}
