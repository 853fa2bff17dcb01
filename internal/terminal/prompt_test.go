package terminal

import (
	"errors"
	"io"
	"strings"
	"testing"
)

// TestPromptPlain: without a terminal, a prompt prints nothing and reads lines, the last one
// also without its end.
func TestPromptPlain(t *testing.T) {
	var out strings.Builder
	p := New(&out).Prompt(strings.NewReader("one\r\n\nlast"))
	for i, want := range []string{"one", "", "last", ""} {
		line, err := p.Line(t.Context(), "ask> ")
		if line != want || errors.Is(err, io.EOF) != (i >= 2) || err != nil && !errors.Is(err, io.EOF) {
			t.Errorf("line %d: %q, %v", i, line, err)
		}
	}
	if p.Asks() || out.Len() > 0 {
		t.Errorf("it asks: %q", out.String())
	}
}
