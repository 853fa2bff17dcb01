package terminal

import (
	"io"
	"strings"

	"golang.org/x/term"
)

// Layout is how text is laid out: for people in front of a terminal, or for programs.
type Layout struct {
	Width   int // of the terminal, in characters; 0: there is none
	Colours bool
}

// usualWidth is the width of a terminal that does not tell.
const usualWidth = 80

// Layout returns the layout for what s prints now. A terminal may change its width.
func (s *Screen) Layout() Layout {
	if !s.terminal {
		return Layout{}
	}
	width, _, err := term.GetSize(s.fd)
	if err != nil || width < narrowest {
		width = usualWidth
	}
	return Layout{width, s.Colours()}
}

// Style is how a text stands out on a terminal that shows colours.
type Style string

// The styles.
const (
	Plain  Style = ""
	Bold   Style = "1"
	Dim    Style = "2"
	Red    Style = "31"
	Yellow Style = "33"
)

// paint returns text with the codes that make it stand out. The text is escaped already.
func (l Layout) paint(style Style, text string) string {
	if !l.Colours || style == Plain || text == "" {
		return text
	}
	return "\x1b[" + string(style) + "m" + text + "\x1b[0m"
}

// Item prints text behind a label, indented by so many characters. On a terminal the text is
// broken into lines that fit, below each other.
func (s *Screen) Item(style Style, label string, indent int, text string) error {
	layout, lines := s.Layout(), []string{text}
	if layout.Width > 0 {
		lines = wrap(text, layout.Width-indent)
	}
	var b strings.Builder
	for i, line := range lines {
		before := ""
		if i == 0 {
			before = label
		}
		b.WriteString(layout.paint(style, Escape(before)) + strings.Repeat(" ", max(indent-width(before), 1)) + Escape(line) + "\n")
	}
	_, err := io.WriteString(s.w, b.String())
	return err
}
