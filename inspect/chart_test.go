package inspect

import (
	"fmt"
	"testing"
	"time"

	"github.com/driftdb/driftdb-go"
)

// TestChart: each change is in one bar, by when it was in the bucket at the latest: a batch
// that was merged later does not hide that a snapshot had its changes before.
func TestChart(t *testing.T) {
	now := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	at := func(hours int) time.Time { return now.Add(-60 * time.Hour).Add(time.Duration(hours) * time.Hour) }
	info := driftdb.BackupInfo{First: 1, Sequence: 1000, UpdatedAt: at(59), Snapshots: []driftdb.SnapshotInfo{{Sequence: 100, Time: at(0), Size: 7}, {Sequence: 600, Time: at(30), Size: 9}}}
	batches := []driftdb.BatchInfo{{From: 1, To: 700, Bytes: 50, Time: at(55)}, {From: 701, To: 1000, Bytes: 20, Time: at(59)}}
	points := latest(batches, info, now)
	want := fmt.Sprint([]point{{100, at(0)}, {600, at(30)}, {700, at(55)}, {1000, at(59)}, {1000, at(59)}})
	if got := fmt.Sprint(points); got != want {
		t.Errorf("points %s\nwant %s", got, want)
	}
	var n [chartBars]int64
	spread(&n, 1003, 3, 12)
	total := int64(0)
	for _, amount := range n {
		total += amount
	}
	if total != 1003 || n[2] != 0 || n[13] != 0 || n[3] < 100 || n[3] > 101 {
		t.Errorf("1003 in ten bars: %v", n)
	}
	changes, bytes := overTime(batches, info, now)
	if len(changes.Bars) == 0 || changes.Top == "0" || bytes.Top != "50 B" {
		t.Errorf("%+v\n%+v", changes, bytes)
	}
}

// TestTimelineZoom: a part is within what there is, and has at least a few changes; zooming
// in and out and moving stay within it too.
func TestTimelineZoom(t *testing.T) {
	ticks := func(from, to int64) int { return len((&drawing{in: timelineInput{from: from, to: to}}).ticks()) }
	for _, c := range [][2]int64{{1, 1}, {1, 11}, {5, 1018}, {1, 1_000_000}, {999_999_000, 1_000_000_000}, {1, 999_999_999_999}} {
		if n := ticks(c[0], c[1]); n > 8 || n < 1 {
			t.Errorf("%v: %d ticks", c, n)
		}
	}
	d := &drawing{in: timelineInput{from: 101, to: 200}}
	for sequence, want := range map[int64]float64{1: 0, 101: 0, 151: 50, 201: 100, 999: 100} {
		if got := d.x(sequence); got != want {
			t.Errorf("change %d is at %v, want %v", sequence, got, want)
		}
	}
}
