package change

import (
	"math"
	"reflect"
	"testing"
)

// TestAny: a value comes back as it was given, and a bool as SQLite stores it.
func TestAny(t *testing.T) {
	for _, v := range []any{nil, int64(math.MinInt64), 0.5, math.Inf(1), "a\x00b", "", []byte{0, 1}, []byte{}} {
		if got := ValueOf(v).Any(); !reflect.DeepEqual(got, v) {
			t.Errorf("%#v comes back as %#v", v, got)
		}
	}
	if ValueOf(true).Any() != int64(1) || ValueOf(false).Any() != int64(0) {
		t.Error("a bool is no 0 or 1")
	}
	blob := []byte("blob")
	m := Map([]Column{{Name: "b", Value: ValueOf(blob)}})
	if blob[0] = 'x'; string(m["b"].([]byte)) != "blob" {
		t.Error("a map shares its bytes")
	}
	if Map(nil) != nil {
		t.Error("no row is a map")
	}
}
