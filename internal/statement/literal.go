package statement

import (
	"encoding/hex"
	"math"
	"math/big"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/driftdb/driftdb-go/internal/change"
)

// Literal returns v as an SQL expression of exactly its value and storage class.
func Literal(v change.Value) string {
	switch v.Kind {
	case change.Integer:
		return strconv.FormatInt(v.Int, 10)
	case change.Real:
		return realLiteral(v.Real)
	case change.Text:
		return textLiteral(string(v.Bytes))
	case change.Blob:
		return "x'" + hex.EncodeToString(v.Bytes) + "'"
	}
	return "NULL"
}

// textLiteral writes text in quotes if it is printable. The shell ends a string at a NUL,
// and whatever shows the script may obey or hide other characters.
func textLiteral(s string) string {
	if !utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool { return !strconv.IsPrint(r) }) {
		return "CAST(x'" + hex.EncodeToString([]byte(s)) + "' AS TEXT)"
	}
	return "'" + strings.ReplaceAll(s, "'", "''") + "'"
}

// realLiteral writes a real with a point or an exponent. It is the shortest number that
// stands for f, unless that is so far from f that a version of SQLite may take it for f's
// neighbour; then it has 18 digits, all that SQLite reads.
func realLiteral(f float64) string {
	switch {
	case math.IsInf(f, 1):
		return "9e999"
	case math.IsInf(f, -1):
		return "-9e999"
	case f != 0 && math.Abs(f) < 1e-280:
		return tinyLiteral(f)
	}
	s := strconv.FormatFloat(f, 'g', -1, 64)
	if !near(s, f) {
		s = strconv.FormatFloat(f, 'e', 17, 64)
	}
	if !strings.ContainsAny(s, ".e") {
		s += ".0"
	}
	return s
}

// tinyLiteral writes a real close to zero, which SQLite does not read exactly, as a product
// whose factors it does.
func tinyLiteral(f float64) string {
	const shift = 300
	factor := realLiteral(math.Ldexp(1, -shift))
	return realLiteral(math.Ldexp(f, 2*shift)) + "*" + factor + "*" + factor
}

// near reports whether the number s is clearly nearer to f than to any other float64.
// SQLite's own reading of numbers is accurate to less than a tenth of the distance between
// two of them.
func near(s string, f float64) bool {
	const precision = 256 // bits; no digit of s is lost that could matter
	read, ok := new(big.Float).SetPrec(precision).SetString(s)
	if !ok {
		return false
	}
	apart := new(big.Float).SetPrec(precision).Sub(read, big.NewFloat(f))
	next := math.Nextafter(math.Abs(f), 0)
	spacing := new(big.Float).SetPrec(precision).Sub(big.NewFloat(math.Abs(f)), big.NewFloat(next))
	return apart.Abs(apart).Cmp(spacing.Mul(spacing, big.NewFloat(0.45))) <= 0
}
