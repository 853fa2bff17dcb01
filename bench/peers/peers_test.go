package main

import (
	"strings"
	"testing"
)

// TestSides: every side that is written in Go can do every work.
func TestSides(t *testing.T) {
	for _, side := range []string{sideOurs, sideSynced, plainGo, sideEngine} {
		for _, w := range works {
			if w.concurrent() && single(side) {
				continue
			}
			if _, err := inProcess(side, w.name, 200); err != nil {
				t.Errorf("%s, %s: %v", side, w.name, err)
			}
		}
	}
}

// TestReport: the table and the chart have what was measured, and nothing else.
func TestReport(t *testing.T) {
	r := rates{
		"insert":   {sideOurs: {200, 100, 300}, sidePlain: {100, 100, 100}, sideSynced: {50, 50, 50}},
		"insert16": {sideOurs: {40_000}, plainGo: {10_000}},
	}
	table := r.table()
	for _, want := range []string{"| create a row | 200 | 50 | 100 | | | | 2.00 |", "| 40,000 |", "| 4.00 |"} {
		if !strings.Contains(table, want) {
			t.Errorf("the table has no %q:\n%s", want, table)
		}
	}
	if strings.Contains(table, "find a row") {
		t.Errorf("the table has what was not measured:\n%s", table)
	}
	chart := r.chart()
	for _, want := range []string{">2.00<", ">0.50<", ">4.00<"} {
		if !strings.Contains(chart, want) {
			t.Errorf("the chart has no %q:\n%s", want, chart)
		}
	}
}
