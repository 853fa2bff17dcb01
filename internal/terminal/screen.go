// Package terminal prints what strangers have written: what a bucket or a database
// holds must not command a terminal, nor look like a line of the program's own.
package terminal

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"text/tabwriter"

	"golang.org/x/term"
)

// Screen is where a program prints: a terminal, a file or a pipe. It is no io.Writer,
// so that all text comes through Printf, and all else through JSON. Its methods may be
// called at the same time.
type Screen struct {
	w        io.Writer
	terminal bool
}

// New returns a screen that prints to w.
func New(w io.Writer) *Screen { return &Screen{&lockedWriter{w: w}, isTerminal(w)} }

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// Format is what Printf prints as it is. Being a type of its own, it takes the
// program's constants, and no text that was made at run time.
type Format string

// Printf prints format as fmt does, and escapes what it makes of each argument: a line
// ends where the format says so.
func (s *Screen) Printf(format Format, args ...any) error {
	escaped := make([]any, len(args))
	for i, arg := range args {
		escaped[i] = stranger{arg}
	}
	_, err := fmt.Fprintf(s.w, string(format), escaped...)
	return err
}

// stranger formats as its value, escaped.
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

// Buffered returns a screen that prints to s when flush is called, or there is much to
// print. It is no terminal, and for one goroutine.
func (s *Screen) Buffered() (b *Screen, flush func() error) {
	w := bufio.NewWriter(s.w)
	return &Screen{w: w}, w.Flush
}

// Align returns lines in which the cells of rows stand below each other.
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

// lockedWriter keeps apart the lines of those who print at the same time.
type lockedWriter struct {
	mu sync.Mutex
	w  io.Writer
}

func (l *lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}
