// Package terminal prints untrusted text: the contents of a bucket or a database must not
// control the terminal, nor look like a line of the program's own.
package terminal

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"sync"
	"text/tabwriter"

	"golang.org/x/term"
)

// Screen is where a program prints: a terminal, a file or a pipe. It is not an io.Writer,
// so that all text goes through Printf, and everything else through JSON. Its methods can
// be called concurrently.
type Screen struct {
	w        io.Writer
	terminal bool
	fd       int // of the terminal
}

// New returns a screen that prints to w.
func New(w io.Writer) *Screen {
	s := &Screen{w: &lockedWriter{w: w}}
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		s.terminal, s.fd = true, int(f.Fd())
	}
	return s
}

// IsTerminal reports whether people read the screen.
func (s *Screen) IsTerminal() bool { return s.terminal }

// Colours reports whether text may be coloured: on a terminal that shows colours, unless
// its user wants none (https://no-color.org).
func (s *Screen) Colours() bool {
	shows := os.Getenv("TERM") != "dumb"
	if runtime.GOOS == "windows" {
		shows = os.Getenv("WT_SESSION") != "" // older consoles print the codes
	}
	return s.terminal && shows && os.Getenv("NO_COLOR") == ""
}

// Format is a format that Printf does not escape. As a type of its own it accepts the
// program's constants, but no string built at run time.
type Format string

// Printf prints format as fmt does, but escapes the text of each argument, so that only
// the format can break a line.
func (s *Screen) Printf(format Format, args ...any) error {
	escaped := make([]any, len(args))
	for i, arg := range args {
		escaped[i] = stranger{arg}
	}
	_, err := fmt.Fprintf(s.w, string(format), escaped...)
	return err
}

// stranger formats like its value, but escaped.
type stranger struct{ value any }

func (s stranger) Format(f fmt.State, verb rune) {
	io.WriteString(f, Escape(fmt.Sprintf(fmt.FormatString(f, verb), s.value)))
}

// JSON prints v as one line.
func (s *Screen) JSON(v any) error {
	var line bytes.Buffer
	e := json.NewEncoder(&line)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return err
	}
	_, err := io.WriteString(s.w, escapeJSON(strings.TrimSuffix(line.String(), "\n"))+"\n")
	return err
}

// Buffered returns a screen that prints to s when flush is called or its buffer is full.
// It is not a terminal, and only one goroutine may use it.
func (s *Screen) Buffered() (b *Screen, flush func() error) {
	w := bufio.NewWriter(s.w)
	return &Screen{w: w}, w.Flush
}

// Align returns rows as lines whose cells are aligned in columns.
func Align(rows [][]string) ([]string, error) {
	var table bytes.Buffer
	w := tabwriter.NewWriter(&table, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		for i, cell := range row {
			if i > 0 {
				io.WriteString(w, "\t") // Flush returns the error
			}
			io.WriteString(w, Escape(cell))
		}
		io.WriteString(w, "\n")
	}
	err := w.Flush()
	return strings.Split(strings.TrimSuffix(table.String(), "\n"), "\n"), err
}

// lockedWriter keeps lines apart that goroutines print at the same time.
type lockedWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}
