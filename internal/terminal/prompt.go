package terminal

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"strings"

	"golang.org/x/term"
)

// Prompt reads lines. If people type them on a terminal, it asks for each line on the
// screen, and they can edit it and recall earlier ones; otherwise it reads plain lines.
// Only one goroutine may use it.
type Prompt struct {
	editor *term.Terminal // nil: there is no terminal
	fd     int            // of the terminal that is read
	lines  *bufio.Reader
}

// Prompt returns a prompt that reads in and asks on s.
func (s *Screen) Prompt(in io.Reader) *Prompt {
	f, ok := in.(*os.File)
	if !ok || !s.terminal || !term.IsTerminal(int(f.Fd())) {
		return &Prompt{lines: bufio.NewReader(in)}
	}
	return &Prompt{fd: int(f.Fd()), editor: term.NewTerminal(struct {
		io.Reader
		io.Writer
	}{in, s.w}, "")}
}

// Asks reports whether people type the lines.
func (p *Prompt) Asks() bool { return p.editor != nil }

// Line reads a line, without its end. io.EOF means that it is the last one; it may be
// empty. If ctx ends first, its error is returned, and the prompt cannot be used again:
// nothing can end the read that is under way.
func (p *Prompt) Line(ctx context.Context, prompt string) (string, error) {
	restore := func() error { return nil }
	if p.Asks() {
		before, err := term.MakeRaw(p.fd)
		if err != nil {
			return "", err
		}
		restore = func() error { return term.Restore(p.fd, before) }
		if width, height, err := term.GetSize(p.fd); err == nil && width > 0 {
			_ = p.editor.SetSize(width, height) // it only draws the line anew
		}
		p.editor.SetPrompt(prompt)
	}
	type result struct {
		line string
		err  error
	}
	read := make(chan result, 1)
	go func() {
		line, err := p.read()
		read <- result{line, err}
	}()
	select {
	case r := <-read:
		if failed := restore(); failed != nil {
			return "", failed
		}
		return r.line, r.err
	case <-ctx.Done():
		return "", errors.Join(context.Cause(ctx), restore())
	}
}

func (p *Prompt) read() (string, error) {
	if p.Asks() {
		return p.editor.ReadLine()
	}
	line, err := p.lines.ReadString('\n')
	return strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r"), err
}
