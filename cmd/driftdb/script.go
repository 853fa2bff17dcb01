package main

import "strings"

// piece is a statement of a script, and where it begins.
type piece struct {
	text string
	line int // of the script, from 1
}

// splitScript splits a script at the semicolons that end statements: those outside of
// quotes and comments. rest is what follows the last one, unless it is only space and
// comments.
func splitScript(script string) (list []piece, rest piece) {
	start, line := -1, 1 // start is where the statement begins; -1: it has not
	first := 0           // its line
	for i := 0; i < len(script); {
		size, blank := token(script[i:])
		if text := script[i : i+size]; text == ";" && start >= 0 {
			list = append(list, piece{script[start:i], first})
			start = -1
		} else if !blank && text != ";" && start < 0 {
			start, first = i, line
		}
		line += strings.Count(script[i:i+size], "\n")
		i += size
	}
	if start >= 0 {
		rest = piece{script[start:], first}
	}
	return list, rest
}

// token returns the length of the token at the beginning of text, and whether it is space
// or a comment. Quotes that are not closed, and comments, end with the text.
func token(text string) (size int, blank bool) {
	switch {
	case strings.HasPrefix(text, "--"):
		return upTo(text, "\n"), true
	case strings.HasPrefix(text, "/*"):
		return 2 + upTo(text[2:], "*/"), true
	case strings.IndexByte(" \t\r\n\f", text[0]) >= 0:
		return 1, true
	case text[0] == '[':
		return upTo(text, "]"), false
	case strings.IndexByte("'\"`", text[0]) >= 0: // a doubled quote ends one text and begins another
		return 1 + upTo(text[1:], text[:1]), false
	}
	return 1, false
}

// upTo is the length of text up to the end of what ends it.
func upTo(text, end string) int {
	if i := strings.Index(text, end); i >= 0 {
		return i + len(end)
	}
	return len(text)
}
