package main

import (
	"fmt"
	"strconv"
	"time"

	"github.com/driftdb/driftdb-go/internal/terminal"
)

// report prints a result: v with --json, text without.
func (a *app) report(v any, format terminal.Format, args ...any) error {
	if a.json {
		return a.stdout.JSON(v)
	}
	return a.stdout.Printf(format, args...)
}

// count formats n with commas between the thousands.
func count(n int64) string {
	s := strconv.FormatInt(n, 10)
	start := 0
	if n < 0 {
		start = 1
	}
	for i := len(s) - 3; i > start; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// plural formats a number of things.
func plural(n int64, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return count(n) + " " + many
}

// size formats a number of bytes for people.
func size(n int64) string {
	if n < 1024 {
		return plural(n, "byte", "bytes")
	}
	f, unit := float64(n)/1024, 0
	for f >= 1024 && unit < 4 {
		f, unit = f/1024, unit+1
	}
	return fmt.Sprintf("%.1f %ciB", f, "KMGTP"[unit])
}

// stamp formats a time as all commands print it; a zero time is a dash.
func stamp(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format("2006-01-02T15:04:05.000Z")
}

// instant is a time in JSON: formatted as by stamp, omitted when zero.
type instant time.Time

// IsZero is for omitzero.
func (t instant) IsZero() bool { return time.Time(t).IsZero() }

func (t instant) String() string { return stamp(time.Time(t)) }

// MarshalText implements encoding.TextMarshaler.
func (t instant) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// seconds is a duration in JSON, to the millisecond.
func seconds(d time.Duration) float64 { return float64(d.Milliseconds()) / 1000 }

// ago says how long before now a time was, for people; a zero time is a dash.
func ago(t, now time.Time) string {
	switch d := now.Sub(t); {
	case t.IsZero():
		return "-"
	case d < -time.Minute: // one of the clocks is wrong
		return "in the future"
	case d < time.Second:
		return "just now"
	case d < time.Minute:
		return fmt.Sprintf("%d s ago", d/time.Second)
	case d < time.Hour:
		return fmt.Sprintf("%d min ago", d/time.Minute)
	case d < 2*day:
		return fmt.Sprintf("%d h ago", d/time.Hour)
	default:
		return fmt.Sprintf("%d days ago", d/day)
	}
}

// local is a time for people, as their clock shows it and as --at takes it; a zero time is a
// dash.
func local(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.Local().Format("2006-01-02 15:04")
}
