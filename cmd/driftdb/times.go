package main

import (
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// understoodTimes is what an error says that parseTime understands, and help texts.
const understoodTimes = `2026-11-29T14:00:00Z (RFC 3339), "2026-11-29 14:00" or 2026-11-29 (local time), now, "2h ago", "3 days ago", yesterday, "yesterday 14:00" or "today 9:30"`

// parseTime reads a time in any of these forms. Times without a zone are in now's, days
// begin at midnight, and of a time that a clock showed twice it is the first.
func parseTime(text string, now time.Time) (time.Time, error) {
	s := strings.Join(strings.Fields(text), " ")
	for _, layout := range []string{time.RFC3339, "2006-01-02 15:04:05Z07:00", "2006-01-02T15:04Z07:00", "2006-01-02 15:04Z07:00"} {
		if t, err := time.Parse(layout, s); err == nil {
			return t, nil
		}
	}
	for _, layout := range []string{time.DateOnly, "2006-01-02 15:04", time.DateTime, "2006-01-02T15:04", "2006-01-02T15:04:05"} {
		if t, err := time.Parse(layout, s); err == nil {
			return onClock(t, now.Location())
		}
	}
	s = strings.ToLower(s)
	if span, ok := strings.CutSuffix(s, " ago"); ok {
		if t, ok := before(now, span); ok {
			return t, nil
		}
	}
	day, clock, _ := strings.Cut(s, " ")
	switch {
	case s == "now":
		return now, nil
	case day == "today":
		return onDay(text, now, 0, clock)
	case day == "yesterday":
		return onDay(text, now, -1, clock)
	}
	return time.Time{}, notTime(text)
}

func notTime(text string) error {
	return fmt.Errorf("%q is not a time; write it as %s", text, understoodTimes)
}

// onDay is the time that the clock shows on the day that is days after today; an empty
// clock is midnight.
func onDay(text string, now time.Time, days int, clock string) (time.Time, error) {
	at := time.Time{}
	if clock != "" {
		var err error
		if at, err = time.Parse("15:04", clock); err != nil {
			at, err = time.Parse(time.TimeOnly, clock)
		}
		if err != nil {
			return at, notTime(text)
		}
	}
	y, m, d := now.AddDate(0, 0, days).Date()
	return onClock(time.Date(y, m, d, at.Hour(), at.Minute(), at.Second(), at.Nanosecond(), time.UTC), now.Location())
}

// onClock is when a clock in zone shows what t, in UTC, reads. A clock that is put forward
// skips some times. A day that has no midnight begins a little later.
func onClock(t time.Time, zone *time.Location) (time.Time, error) {
	at := time.Date(t.Year(), t.Month(), t.Day(), t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), zone)
	if shown := at.Format(time.DateTime); shown != t.Format(time.DateTime) {
		if t.Equal(t.Truncate(24 * time.Hour)) {
			start, end := at.ZoneBounds()
			if at.Day() == t.Day() {
				return start, nil
			}
			return end, nil
		}
		return at, fmt.Errorf("no clock in %s showed %s: it was put forward then", zone, t.Format(time.DateTime))
	}
	if start, _ := at.ZoneBounds(); !start.IsZero() {
		_, offset := at.Zone()
		_, earlier := start.Add(-1).Zone()
		first := at.Add(time.Duration(offset-earlier) * time.Second)
		if first.Before(start) && first.Format(time.DateTime) == t.Format(time.DateTime) {
			return first, nil
		}
	}
	return at, nil
}

// before is the time a span such as "3 days" or "1h 30m" before now. Days and weeks are
// those of the calendar: a day ago a clock showed what it shows now.
func before(now time.Time, text string) (time.Time, bool) {
	days, rest, ok := parseSpan(text)
	return now.AddDate(0, 0, -days).Add(-rest), ok
}

// parseDuration reads a duration such as 30d, 12h, 2w or "1d 12h". A day has 24 hours.
func parseDuration(text string) (time.Duration, error) {
	if d, err := time.ParseDuration(text); err == nil { // 1.5h, too
		return d, nil
	}
	days, rest, ok := parseSpan(strings.ToLower(text))
	if !ok {
		return 0, fmt.Errorf(`%q is not a duration; write it as 30d, 12h, 2w or "1d 12h"`, text)
	}
	return time.Duration(days)*day + rest, nil
}

const (
	day  = 24 * time.Hour
	week = 7 * day
)

var units = map[string]time.Duration{
	"s": time.Second, "sec": time.Second, "second": time.Second,
	"m": time.Minute, "min": time.Minute, "minute": time.Minute,
	"h": time.Hour, "hour": time.Hour,
	"d": day, "day": day,
	"w": week, "week": week,
}

var spanPattern = regexp.MustCompile(`^\s*(\d+)\s*([a-z]+)\s*`)

// parseSpan adds up numbers with units, days and weeks apart from the rest. The sum does
// not overflow a duration.
func parseSpan(s string) (days int, rest time.Duration, ok bool) {
	for total := time.Duration(0); s != ""; {
		found := spanPattern.FindStringSubmatch(s)
		if found == nil {
			return 0, 0, false
		}
		unit, known := units[found[2]]
		if !known && len(found[2]) > 3 { // the plural; "ms" is none
			unit, known = units[strings.TrimSuffix(found[2], "s")]
		}
		n, err := strconv.ParseInt(found[1], 10, 64)
		if err != nil || !known || n > math.MaxInt64/int64(unit) {
			return 0, 0, false
		}
		part := time.Duration(n) * unit
		if total += part; total < 0 {
			return 0, 0, false
		}
		if unit >= day {
			days += int(part / day)
		} else {
			rest += part
		}
		s, ok = s[len(found[0]):], true
	}
	return days, rest, ok
}

// timeFlag is the value of a flag that takes a time.
type timeFlag struct {
	time.Time
	text string
}

// Set implements pflag.Value.
func (f *timeFlag) Set(text string) (err error) {
	f.text = text
	f.Time, err = parseTime(text, time.Now())
	return err
}

func (f *timeFlag) String() string { return f.text }

// Type implements pflag.Value.
func (f *timeFlag) Type() string { return "time" }

// durationFlag is the value of a flag that takes a duration.
type durationFlag struct{ time.Duration }

// Set implements pflag.Value.
func (f *durationFlag) Set(text string) (err error) {
	f.Duration, err = parseDuration(text)
	return err
}

// String shows whole days as days.
func (f *durationFlag) String() string {
	if f.Duration > 0 && f.Duration%day == 0 {
		return strconv.FormatInt(int64(f.Duration/day), 10) + "d"
	}
	return f.Duration.String()
}

// Type implements pflag.Value.
func (f *durationFlag) Type() string { return "duration" }
