package main

import (
	"strconv"
	"strings"

	"github.com/driftdb/driftdb-go"
)

// parsePoint reads a point in the history: digits are the number of a change, everything
// else is a time.
func parsePoint(text string) (driftdb.Point, error) {
	if strings.Trim(text, "0123456789") == "" {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil || n < 1 {
			return driftdb.Point{}, usagef("%q is not a change: the first one is 1", text)
		}
		return driftdb.Point{Sequence: n}, nil
	}
	at, err := parseTime(text)
	return driftdb.Point{Time: at}, err
}
