package main

import (
	"testing"
	"time"
	_ "time/tzdata"
)

// TestParseTime: what a time on the command line means, on days when the clocks change and
// at the ends of months too.
func TestParseTime(t *testing.T) {
	berlin := zone(t, "Europe/Berlin")
	summer := time.Date(2026, 8, 1, 10, 30, 15, 0, berlin) // the first of a month
	autumn := time.Date(2026, 10, 25, 12, 0, 0, 0, berlin) // a day of 25 hours
	spring := time.Date(2026, 3, 29, 12, 0, 0, 0, berlin)  // a day of 23 hours
	leap := time.Date(2028, 3, 1, 12, 0, 0, 0, berlin)
	for _, c := range []struct {
		text string
		now  time.Time
		want string // RFC 3339; "": an error
	}{
		{"2026-11-29T14:00:00Z", summer, "2026-11-29T14:00:00Z"},
		{"2026-11-29T14:00:00.123456+02:00", summer, "2026-11-29T12:00:00.123456Z"},
		{"2026-11-29 14:00:00Z", summer, "2026-11-29T14:00:00Z"},
		{"2026-11-29T14:00Z", summer, "2026-11-29T14:00:00Z"},
		{"2026-11-29T14:00", summer, "2026-11-29T13:00:00Z"},
		{"2026-11-29 14:00", summer, "2026-11-29T13:00:00Z"},
		{" 2026-11-29   9:05 ", summer, "2026-11-29T08:05:00Z"},
		{"2026-11-29 14:00:30.5", summer, "2026-11-29T13:00:30.5Z"},
		{"2026-07-29 14:00", summer, "2026-07-29T12:00:00Z"},
		{"2026-11-29", summer, "2026-11-28T23:00:00Z"},
		{"now", summer, "2026-08-01T08:30:15Z"},
		{"Now", summer, "2026-08-01T08:30:15Z"},
		{"today", summer, "2026-07-31T22:00:00Z"},
		{"today 9:30", summer, "2026-08-01T07:30:00Z"},
		{"yesterday", summer, "2026-07-30T22:00:00Z"},
		{"yesterday 14:00", summer, "2026-07-31T12:00:00Z"},
		{"yesterday 14:00:01", summer, "2026-07-31T12:00:01Z"},
		{"Yesterday 14:00", leap, "2028-02-29T13:00:00Z"},
		{"2h ago", summer, "2026-08-01T06:30:15Z"},
		{"90 min ago", summer, "2026-08-01T07:00:15Z"},
		{"1h30m ago", summer, "2026-08-01T07:00:15Z"},
		{"1 hour 30 minutes ago", summer, "2026-08-01T07:00:15Z"},
		{"45s ago", summer, "2026-08-01T08:29:30Z"},
		{"3 days ago", summer, "2026-07-29T08:30:15Z"},
		{"2 weeks ago", summer, "2026-07-18T08:30:15Z"},
		{"1w1d ago", summer, "2026-07-24T08:30:15Z"},

		{"today", autumn, "2026-10-24T22:00:00Z"},
		{"yesterday 12:00", autumn, "2026-10-24T10:00:00Z"},
		{"1 day ago", autumn, "2026-10-24T10:00:00Z"},
		{"24h ago", autumn, "2026-10-24T11:00:00Z"},
		{"today 2:30", autumn, "2026-10-25T00:30:00Z"}, // shown twice
		{"today 3:30", autumn, "2026-10-25T02:30:00Z"},
		{"2026-10-25 02:59:59", autumn, "2026-10-25T00:59:59Z"},
		{"1 day ago", spring, "2026-03-28T11:00:00Z"},
		{"24h ago", spring, "2026-03-28T10:00:00Z"},
		{"today 1:59", spring, "2026-03-29T00:59:00Z"},
		{"today 3:00", spring, "2026-03-29T01:00:00Z"},
		{"today 2:30", spring, ""}, // never shown
		{"2026-03-29 02:00", spring, ""},

		// A day without a midnight: clocks went from 0:00 to 1:00.
		{"2018-11-04", time.Date(2018, 11, 4, 12, 0, 0, 0, zone(t, "America/Sao_Paulo")), "2018-11-04T03:00:00Z"},
		{"2018-11-05", time.Date(2018, 11, 4, 12, 0, 0, 0, zone(t, "America/Sao_Paulo")), "2018-11-05T02:00:00Z"},
		// A clock that went back by half an hour.
		{"2026-04-05 01:45", time.Date(2026, 4, 6, 0, 0, 0, 0, zone(t, "Australia/Lord_Howe")), "2026-04-04T14:45:00Z"},
		// No change that is known before it.
		{"2026-04-05 01:45", time.Date(2026, 4, 6, 0, 0, 0, 0, time.UTC), "2026-04-05T01:45:00Z"},

		{"", summer, ""},
		{"tomorrow", summer, ""},
		{"2026-02-30", summer, ""},
		{"2026-11-29 25:00", summer, ""},
		{"29.11.2026", summer, ""},
		{"14:00", summer, ""},
		{"2 ago", summer, ""},
		{"ago", summer, ""},
		{"2 fortnights ago", summer, ""},
		{"5ms ago", summer, ""},
		{"-2h ago", summer, ""},
		{"99999999999999999999h ago", summer, ""},
		{"9999999999h ago", summer, ""},
		{"2562047h 2562047h ago", summer, ""},
		{"1000 years ago", summer, ""},
		{"9999999 days ago", summer, ""},
		{"yesterday noon", summer, ""},
		{"today 24:00", summer, ""},
	} {
		got, err := parseTime(c.text, c.now)
		if c.want == "" {
			if err == nil {
				t.Errorf("%q is %s", c.text, got)
			}
		} else if err != nil || got.UTC().Format(time.RFC3339Nano) != c.want {
			t.Errorf("%q is %s, want %s (%v)", c.text, got.UTC().Format(time.RFC3339Nano), c.want, err)
		}
	}
}

func zone(t *testing.T, name string) *time.Location {
	t.Helper()
	z, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return z
}

func TestParseDuration(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"30d": 30 * day, "12h": 12 * time.Hour, "2w": 14 * day, "1d 12h": 36 * time.Hour, "1.5h": 90 * time.Minute,
		"720h": 30 * day, "30 days": 30 * day, "1 week": week, "90m": 90 * time.Minute, "-1h": -time.Hour, "500ms": 500 * time.Millisecond,
	} {
		if got, err := parseDuration(text); err != nil || got != want {
			t.Errorf("%q is %s, want %s (%v)", text, got, want, err)
		}
	}
	for _, text := range []string{"", "30", "d", "30 moons", "-1d", "1d-", "99999999999d", "200000d", "106751d 24h"} {
		if got, err := parseDuration(text); err == nil {
			t.Errorf("%q is %s", text, got)
		}
	}
	for d, want := range map[time.Duration]string{30 * day: "30d", 90 * time.Minute: "1h30m0s", 0: "0s", 36 * time.Hour: "36h0m0s"} {
		if got := (&durationFlag{d}).String(); got != want {
			t.Errorf("%s is shown as %s, want %s", d, got, want)
		}
	}
}
