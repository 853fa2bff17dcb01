package terminal

import (
	"bufio"
	"io"
	"strings"
)

// Script returns a function that prints statements, and one that flushes what it has
// buffered. A file or a pipe gets the statements as they are: escaped, they would be others.
// On a terminal, everything but line breaks and tabs is escaped.
func (s *Screen) Script() (print func(statement string) error, flush func() error) {
	w := bufio.NewWriter(s.w)
	return func(statement string) error {
		if s.terminal {
			statement = visible(statement)
		}
		_, err := io.WriteString(w, statement+"\n")
		return err
	}, w.Flush
}

// visible escapes text but for its layout.
func visible(text string) string {
	var b strings.Builder
	for {
		i := strings.IndexAny(text, "\n\t")
		if i < 0 {
			return b.String() + Escape(text)
		}
		b.WriteString(Escape(text[:i]) + text[i:i+1])
		text = text[i+1:]
	}
}
