package main

import (
	"bufio"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

func TestFindDelimiter(t *testing.T) {
	for _, test := range []struct {
		sample string
		want   rune
		found  bool
	}{
		{"a,b\n1,2\n", ',', true},
		{"a;b;c\n1,5;2;3\n", ';', true},
		{"Name, full;Age\nA;1\n", ';', true},
		{"a\tb\n1,2\t3,4\n", '\t', true},
		{"a|b", '|', true},
		{"\"a,b,c\";d\n\"1;2\n,\";3\n", ';', true},
		{"a,b;c\n1,2\n3\n", ',', true}, // neither fits, the header has as many of both
		{"a\nb\n", ',', false},
		{"", ',', false},
		{"a,b\n1,2\n1,\"cut", ',', true},
		{"\"", ',', false},
	} {
		if got, found := findDelimiter(test.sample); got != test.want || found != test.found {
			t.Errorf("%q: %q, %v", test.sample, got, found)
		}
	}
}

// TestFirstRow: of a pipe no more is waited for than its first row.
func TestFirstRow(t *testing.T) {
	const row = "\n\"a\n\",b\n"
	r, w := io.Pipe()
	defer w.Close()
	go func() { _, _ = io.WriteString(w, row) }()
	text := bufio.NewReader(iotest.OneByteReader(r))
	if got := firstRow(text); got != row {
		t.Errorf("%q", got)
	}
	if got := firstRow(bufio.NewReader(strings.NewReader("a,b"))); got != "a,b" {
		t.Errorf("%q", got)
	}
	long := strings.Repeat("x", 10_000)
	if got := firstRow(bufio.NewReaderSize(strings.NewReader(long), 100)); got != long[:100] {
		t.Errorf("%d bytes", len(got))
	}
}
