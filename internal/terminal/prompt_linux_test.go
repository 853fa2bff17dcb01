package terminal

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// pseudoTerminal is a terminal, and the end at which a person sits.
func pseudoTerminal(t *testing.T) (person, tty *os.File) {
	t.Helper()
	person, err := os.OpenFile("/dev/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { person.Close() })
	n, err := unix.IoctlGetInt(int(person.Fd()), unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(int(person.Fd()), unix.TIOCSPTLCK, 0)
	}
	if err != nil {
		t.Fatal(err)
	}
	if tty, err = os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|unix.O_NOCTTY, 0); err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { tty.Close() })
	return person, tty
}

// TestPromptTerminal: on a terminal, a prompt asks for each line, which can be edited and
// recalled; and it leaves the terminal as it was.
func TestPromptTerminal(t *testing.T) {
	person, tty := pseudoTerminal(t)
	before, err := unix.IoctlGetTermios(int(tty.Fd()), unix.TCGETS)
	if err != nil {
		t.Fatal(err)
	}
	p := New(tty).Prompt(tty)
	if !p.Asks() {
		t.Fatal("it does not ask")
	}
	for _, step := range []struct {
		keys, want string
		end        error
	}{
		{"SELECT 2\x7f1;\r", "SELECT 1;", nil},
		{"\x1b[A\r", "SELECT 1;", nil}, // up: the line before
		{"\r", "", nil},
		{"\x04", "", io.EOF},
	} {
		go press(person, step.keys)
		if line, err := p.Line(t.Context(), "ask> "); line != step.want || !errors.Is(err, step.end) {
			t.Errorf("%q: %q, %v", step.keys, line, err)
		}
	}
	after, err := unix.IoctlGetTermios(int(tty.Fd()), unix.TCGETS)
	if err != nil || *after != *before {
		t.Errorf("the terminal is left as %+v, and was %+v (%v)", after, before, err)
	}
}

// press waits for the prompt, and presses keys: before that, the terminal itself would edit the
// line. If that fails, the prompt waits in vain.
func press(person *os.File, keys string) {
	for seen := ""; !strings.Contains(seen, "ask> "); {
		buf := make([]byte, 1024)
		n, err := person.Read(buf)
		if err != nil {
			return
		}
		seen += string(buf[:n])
	}
	_, _ = person.WriteString(keys)
}
