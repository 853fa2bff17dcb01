package main

import (
	"strconv"
	"strings"
	"time"

	"github.com/driftdb/driftdb-go"
)

// parsePoint reads a point in the history: digits are the number of a change, everything
// else is a time.
func parsePoint(text string) (driftdb.Point, error) {
	if text != "" && strings.Trim(text, "0123456789") == "" {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil || n < 1 {
			return driftdb.Point{}, usagef("%s is not the number of a change; the first one is 1", text)
		}
		return driftdb.Point{Sequence: n}, nil
	}
	at, err := parseTime(text, time.Now())
	if err != nil {
		return driftdb.Point{}, usage(err)
	}
	return driftdb.Point{Time: at}, nil
}
