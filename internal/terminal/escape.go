package terminal

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Escape returns s on one line that cannot control a terminal. Characters that are not
// printable are written as in a Go string, such as \n, \x1b or \u202e. These include all
// characters that a terminal obeys, that reorder other characters, or that are invisible.
func Escape(s string) string {
	return replaceHidden(s, func(r rune, bytes string) string {
		if r == utf8.RuneError && len(bytes) == 1 {
			return fmt.Sprintf(`\x%02x`, bytes[0])
		}
		return strings.Trim(strconv.QuoteRune(r), "'")
	})
}

// escapeJSON does the same for a line of JSON, without changing its meaning: outside
// strings JSON has none of these characters, and encoding/json leaves no invalid UTF-8.
func escapeJSON(s string) string {
	return replaceHidden(s, func(r rune, _ string) string {
		if r >= 1<<16 {
			r -= 1 << 16
			return fmt.Sprintf(`\u%04x\u%04x`, 0xd800+r>>10, 0xdc00+r&0x3ff)
		}
		return fmt.Sprintf(`\u%04x`, r)
	})
}

// replaceHidden replaces unprintable characters. with gets a character and its bytes.
func replaceHidden(s string, with func(r rune, bytes string) string) string {
	var b strings.Builder
	done := 0
	for i := 0; i < len(s); {
		r, size := utf8.DecodeRuneInString(s[i:])
		if !strconv.IsPrint(r) || r == utf8.RuneError && size == 1 {
			b.WriteString(s[done:i])
			b.WriteString(with(r, s[i:i+size]))
			done = i + size
		}
		i += size
	}
	if done == 0 {
		return s
	}
	return b.String() + s[done:]
}

// Lines returns an error's text, with one line for each of the errors that it joins. Line
// breaks within one error are escaped.
func Lines(err error) []string {
	text := err.Error()
	for {
		if several, ok := err.(interface{ Unwrap() []error }); ok {
			return joined(text, several.Unwrap())
		}
		inner := errors.Unwrap(err)
		if inner == nil || inner.Error() != text {
			return []string{Escape(text)}
		}
		err = inner
	}
}

// joined returns the lines of errors that errors.Join has joined.
func joined(text string, errs []error) (lines []string) {
	var texts []string
	for _, err := range errs {
		texts = append(texts, err.Error())
		lines = append(lines, Lines(err)...)
	}
	if strings.Join(texts, "\n") != text { // wrapped, not joined
		return []string{Escape(text)}
	}
	return lines
}
