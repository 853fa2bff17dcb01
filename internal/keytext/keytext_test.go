package keytext

import (
	"reflect"
	"testing"
)

func TestParse(t *testing.T) {
	for _, c := range []struct {
		text         string
		sample, want any
	}{
		{"7", int64(1), int64(7)},
		{"7.5", int64(1), 7.5},
		{"7", 1.5, int64(7)},
		{"'7'", int64(1), "7"},
		{"7", "text", "7"},
		{"seven", int64(1), "seven"},
		{"'it''s'", "text", "it's"},
		{"'", "text", "'"},
		{"x'00ff'", []byte{1}, []byte{0, 255}},
		{"x'00f'", []byte{1}, "x'00f'"},
		{"x'00ff'", "text", "x'00ff'"},
	} {
		if got := Parse(c.text, c.sample); !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s beside %T is %T %v, want %T %v", c.text, c.sample, got, got, c.want, c.want)
		}
	}
}
