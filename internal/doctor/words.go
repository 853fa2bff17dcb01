package doctor

import (
	"fmt"
	"time"
)

// size formats a number of bytes.
func size(n int64) string {
	if n < 1<<10 {
		return fmt.Sprintf("%d bytes", n)
	}
	f, unit := float64(n)/1024, 0
	for f >= 1024 && unit < 4 {
		f, unit = f/1024, unit+1
	}
	return fmt.Sprintf("%.1f %ciB", f, "KMGTP"[unit])
}

// several formats a number of things.
func several(n int64, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// age formats a duration in its largest unit.
func age(d time.Duration) string {
	switch d = d.Abs(); {
	case d < time.Second:
		return "less than a second"
	case d < time.Minute:
		return several(int64(d/time.Second), "second", "seconds")
	case d < time.Hour:
		return several(int64(d/time.Minute), "minute", "minutes")
	case d < 48*time.Hour:
		return several(int64(d/time.Hour), "hour", "hours")
	}
	return several(int64(d/(24*time.Hour)), "day", "days")
}

// ago is how long ago a time in Unix ms was.
func ago(ms int64) string {
	d := time.Since(time.UnixMilli(ms))
	if d < 0 {
		return "in " + age(d) + ", by this machine's clock"
	}
	return age(d) + " ago"
}
