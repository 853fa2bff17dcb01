package main

import (
	"bytes"
	"compress/gzip"
	"encoding/csv"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"unicode/utf8"

	"pgregory.net/rapid"
)

// readAll reads a CSV text to its end.
func readAll(text io.Reader) (rows [][]string, err error) {
	plain, err := plainText(text)
	if err != nil {
		return nil, err
	}
	c, err := newCSVReader("file", plain, ',')
	if err != nil {
		return nil, err
	}
	rows = append(rows, c.header)
	for {
		row, err := c.next()
		if err == io.EOF {
			return rows, nil
		}
		if err != nil {
			return rows, err
		}
		rows = append(rows, row)
	}
}

// TestCSVExact: what was written comes back, byte for byte, however lines end,
// compressed or not, with a byte order mark or without, in pieces of any size.
func TestCSVExact(t *testing.T) {
	field := rapid.OneOf(rapid.String(), rapid.StringOfN(rapid.SampledFrom([]rune("a\r\n\",é")), 0, 12, -1))
	rapid.Check(t, func(t *rapid.T) {
		width := rapid.IntRange(2, 5).Draw(t, "width")
		want := [][]string{{}}
		for i := range width {
			want[0] = append(want[0], fmt.Sprint("column ", i))
		}
		want = append(want, rapid.SliceOfN(rapid.SliceOfN(field, width, width), 0, 20).Draw(t, "rows")...)
		end := rapid.SampledFrom([]string{"\n", "\r\n"}).Draw(t, "end")
		var text bytes.Buffer
		if rapid.Bool().Draw(t, "mark") {
			text.WriteString("\ufeff")
		}
		for _, row := range want {
			for i, f := range row {
				if i > 0 {
					text.WriteByte(',')
				}
				text.WriteString(`"` + strings.ReplaceAll(f, `"`, `""`) + `"`)
			}
			text.WriteString(end)
		}
		var r io.Reader = bytes.NewReader(text.Bytes())
		if rapid.Bool().Draw(t, "gzip") {
			var packed bytes.Buffer
			w := gzip.NewWriter(&packed)
			if _, err := w.Write(text.Bytes()); err != nil || w.Close() != nil {
				t.Fatal(err)
			}
			r = &packed
		}
		if rapid.Bool().Draw(t, "slow") {
			r = iotest.OneByteReader(r)
		}
		got, err := readAll(r)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.EqualFunc(got, want, slices.Equal) {
			t.Fatalf("got %q\nwant %q", got, want)
		}
	})
}

func TestCSVErrors(t *testing.T) {
	for _, test := range []struct{ text, want string }{
		{"", "file is empty"},
		{"\n\n", "file is empty"},
		{"a,b\n1,2\n\n\"x\ny\",2\n3", "file:6: the row has 1 field, but the header names 2 columns"},
		{"a\n\"1\n2", `file:3: byte 2`},
		{"a\r1\r2\r", "contains a control character; lines end with LF or CRLF"},
		{"a,\xff\n", "file:1: field 2 is not UTF-8"},
		{"\xff\xfea\x00\n\x00", "is not UTF-8"},
		{"a\n\x1f", ""},
		{"\x1f\x8bnot gzip", "gzip: invalid header"},
	} {
		_, err := readAll(strings.NewReader(test.text))
		if got := fmt.Sprint(err); !strings.Contains(got, test.want) || (err == nil) != (test.want == "") {
			t.Errorf("%q: %v, want %q", test.text, err, test.want)
		}
	}
}

// TestCSVEndlessRow: a quote that is never closed ends in an error, and soon.
func TestCSVEndlessRow(t *testing.T) {
	endless := io.MultiReader(strings.NewReader("a\n1\n\""), iotest.DataErrReader(&repeat{"some text\n"}))
	_, err := readAll(endless)
	if err == nil || !strings.Contains(err.Error(), "the row that begins on line 3 is larger than 64.0 MiB") {
		t.Fatal(err)
	}
}

// repeat yields its text for ever.
type repeat struct{ text string }

func (r *repeat) Read(p []byte) (int, error) {
	return copy(p, strings.Repeat(r.text, len(p)/len(r.text)+1)), nil
}

// FuzzCSV: whatever comes, the reader ends, hands out rows of the header's
// width in UTF-8, and agrees with encoding/csv but for line ends.
func FuzzCSV(f *testing.F) {
	f.Add([]byte("a,b\r\n\"1\r\n\"\"x\",2\r\n"))
	f.Add([]byte("\ufeffa\n\"\r\r\n\"\n"))
	f.Add([]byte{0x1f, 0x8b, 8, 0})
	f.Fuzz(func(t *testing.T, text []byte) {
		rows, err := readAll(bytes.NewReader(text))
		for _, row := range rows {
			if len(row) != len(rows[0]) || !utf8.ValidString(strings.Join(row, "")) {
				t.Fatalf("row %q under header %q", row, rows[0])
			}
		}
		if err != nil || bytes.HasPrefix(text, []byte{0x1f, 0x8b}) {
			return
		}
		reader := csv.NewReader(bytes.NewReader(bytes.TrimPrefix(text, []byte("\ufeff"))))
		want, err := reader.ReadAll()
		if err != nil {
			t.Fatalf("read %q, which encoding/csv refuses: %v", rows, err)
		}
		if !slices.EqualFunc(rows, want, func(a, b []string) bool {
			return strings.ReplaceAll(strings.Join(a, "\x00"), "\r\n", "\n") == strings.Join(b, "\x00")
		}) {
			t.Fatalf("read %q, encoding/csv reads %q", rows, want)
		}
	})
}
