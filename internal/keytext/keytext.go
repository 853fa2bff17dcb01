// Package keytext reads the value of a key's column as people write it: on the command line,
// and in the inspector, whose pages show command lines.
package keytext

import (
	"encoding/hex"
	"strconv"
	"strings"
)

// Parse reads a value that is of the kind of sample, if it can be: a number, or a blob as
// x'00ff'. A text in quotes always is one, and so is whatever cannot be read otherwise.
func Parse(text string, sample any) any {
	if quoted, ok := strings.CutPrefix(text, "'"); ok && strings.HasSuffix(quoted, "'") {
		return strings.ReplaceAll(strings.TrimSuffix(quoted, "'"), "''", "'")
	}
	switch sample.(type) {
	case int64, float64:
		if n, err := strconv.ParseInt(text, 10, 64); err == nil {
			return n
		}
		if f, err := strconv.ParseFloat(text, 64); err == nil {
			return f
		}
	case []byte:
		if digits, ok := strings.CutPrefix(text, "x'"); ok && strings.HasSuffix(digits, "'") {
			if b, err := hex.DecodeString(strings.TrimSuffix(digits, "'")); err == nil {
				return b
			}
		}
	}
	return text
}
