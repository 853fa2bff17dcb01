package terminal

import (
	"bytes"
	"strings"
	"testing"
)

// TestItem: on a terminal an item's lines fit below each other, and hostile text controls
// nothing; elsewhere it is one line.
func TestItem(t *testing.T) {
	text := strings.Repeat("several words ", 12) + "and \x1b[31mred"
	for _, onTerminal := range []bool{true, false} {
		var out bytes.Buffer
		s := &Screen{w: &out, terminal: onTerminal, fd: -1} // which tells no width
		if err := s.Item(Plain, "warning", 11, text); err != nil {
			t.Fatal(err)
		}
		lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
		if strings.Contains(out.String(), "\x1b") || !strings.HasPrefix(lines[0], "warning    several words") || len(lines) != map[bool]int{true: 3, false: 1}[onTerminal] {
			t.Errorf("terminal: %v\n%s", onTerminal, out.String())
		}
		for _, line := range lines[1:] {
			if len(line) > usualWidth || !strings.HasPrefix(line, strings.Repeat(" ", 11)) || line[11] == ' ' {
				t.Errorf("%q", line)
			}
		}
	}
}
