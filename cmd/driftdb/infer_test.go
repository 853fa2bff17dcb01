package main

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/driftdb/driftdb-go"
	"pgregory.net/rapid"
)

// TestInfer: what makes a column a number, and what does not.
func TestInfer(t *testing.T) {
	for _, test := range []struct {
		fields string
		want   columnType
	}{
		{"1 -2 0 9223372036854775807 -9223372036854775808", typeInteger},
		{"9223372036854775808", typeText},
		{"007", typeText}, {"+1", typeText}, {"-0", typeText}, {"1_000", typeText}, {"0x10", typeText},
		{"1.5 2 -3.25", typeReal}, {"1e3", typeReal}, {"2.5E-7", typeReal}, {"1.0 10.25", typeReal},
		{"1.50 2.25", typeReal}, {"1.9 1.10", typeText}, {"1.50 2.5", typeText},
		{".5", typeText}, {"5.", typeText}, {"00.5", typeText}, {"-0.0", typeText}, {"1.2.3", typeText},
		{"inf", typeText}, {"NaN", typeText}, {"1e999", typeText}, {"1e-999", typeText}, {"0x1p2", typeText}, {"1.5e", typeText},
		{"123456789012345.6", typeText}, {"1.5 1234567890123456", typeText},
		{"2024-01-01", typeText}, {"1 a", typeText},
	} {
		var c inference
		for i, f := range strings.Fields(test.fields) {
			c.add(f, i)
		}
		if got := c.result(); got != test.want {
			t.Errorf("%s: %s, want %s", test.fields, got, test.want)
		}
	}
}

// TestInferExact: whatever numbers a column has, its type gives each one back: an integer as
// it was, and of a decimal the same number.
func TestInferExact(t *testing.T) {
	ctx := t.Context()
	db, err := driftdb.Open(ctx, driftdb.Config{Name: "t", Path: ":memory:"})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	field := rapid.OneOf(
		rapid.StringMatching(`-?[0-9]{1,20}`),
		rapid.StringMatching(`-?[0-9]{1,9}\.[0-9]{0,9}(e-?[0-9]{1,3})?`),
	)
	rapid.Check(t, func(t *rapid.T) {
		fields := rapid.SliceOfN(field, 1, 4).Draw(t, "fields")
		var c inference
		for _, f := range fields {
			c.add(f, 1)
		}
		for _, f := range fields {
			back, err := driftdb.Select[string](ctx, db, "SELECT CAST(CAST(? AS "+string(c.result())+") AS TEXT)", f)
			if err != nil {
				t.Fatal(err)
			}
			if back[0] != f && (c.result() != typeReal || value(f) != value(back[0])) {
				t.Fatalf("%q as %s is %q", f, c.result(), back[0])
			}
			if !c.result().accepts(f) {
				t.Fatalf("%s does not accept %q", c.result(), f)
			}
		}
	})
}

func value(field string) string {
	f, err := strconv.ParseFloat(field, 64)
	return fmt.Sprint(strconv.FormatFloat(f, 'g', exactDigits, 64), err)
}
