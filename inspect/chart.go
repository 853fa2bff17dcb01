package inspect

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/driftdb/driftdb-go"
)

// chartBars is how many parts a chart divides its time into.
const chartBars = 60

// chart is a bar chart of amounts over time.
type chart struct {
	Title    string
	Bars     []bar
	Top      string // the largest amount
	From, To time.Time
	About    string // for those who do not see it
}

// overTime draws when how many changes and bytes came into the bucket.
func overTime(batches []driftdb.BatchInfo, info driftdb.BackupInfo, now time.Time) (changes, bytes chart) {
	points := latest(batches, info, now)
	from := now.Add(-time.Minute)
	for _, p := range points {
		if p.at.Before(from) {
			from = p.at
		}
	}
	step := now.Sub(from)/chartBars + 1
	bucket := func(t time.Time) int { return max(0, min(chartBars-1, int(t.Sub(from)/step))) }
	var n, size [chartBars]int64
	before := point{info.First - 1, from}
	for _, p := range points {
		spread(&n, p.sequence-before.sequence, bucket(before.at), bucket(p.at))
		before = p
	}
	for _, b := range batches {
		size[bucket(b.Time)] += b.Bytes
	}
	for _, s := range info.Snapshots {
		size[bucket(s.Time)] += s.Size
	}
	return bars("Changes", n, from, step, count[int64]), bars("Bytes stored", size, from, step, sizeOf)
}

// point is a time at which the bucket had the changes up to a sequence.
type point struct {
	sequence int64
	at       time.Time
}

// latest are the times by which changes were in the bucket at the latest, oldest first. A
// batch that was merged is younger than its changes, but then something that is older
// follows them: a snapshot, or another batch.
func latest(batches []driftdb.BatchInfo, info driftdb.BackupInfo, now time.Time) []point {
	points := []point{{info.Sequence, info.UpdatedAt}}
	for _, b := range batches {
		points = append(points, point{b.To, b.Time})
	}
	for _, s := range info.Snapshots {
		points = append(points, point{s.Sequence, s.Time})
	}
	points = slices.DeleteFunc(points, func(p point) bool { return p.sequence < info.First || p.at.Unix() <= 0 })
	slices.SortFunc(points, func(x, y point) int {
		return cmp.Or(cmp.Compare(y.sequence, x.sequence), x.at.Compare(y.at))
	})
	for i, p := range points {
		before := now
		if i > 0 {
			before = points[i-1].at
		}
		if p.at.After(before) {
			points[i].at = before
		}
	}
	slices.Reverse(points)
	return points
}

// spread divides an amount evenly among the bars from first to last.
func spread(amounts *[chartBars]int64, n int64, first, last int) {
	width := int64(last - first + 1)
	for i := range width {
		amounts[first+int(i)] += n*(i+1)/width - n*i/width
	}
}

func sizeOf(n int64) string { return size(n) }

// bars draws amounts, each formatted by text.
func bars(title string, amounts [chartBars]int64, from time.Time, step time.Duration, text func(int64) string) chart {
	most, total := int64(0), int64(0)
	for _, n := range amounts {
		most, total = max(most, n), total+n
	}
	c := chart{Title: title, Top: text(most), From: from, To: from.Add(chartBars * step)}
	c.About = fmt.Sprintf("%s, from %s to %s: %s in all, %s at most in %s", title, c.From.UTC().Format(time.DateTime), c.To.UTC().Format(time.DateTime), text(total), text(most), step.Round(time.Second))
	const width, height = 100.0, 72.0 // percent, and pixels
	for i, n := range amounts {
		if n == 0 {
			continue
		}
		tall := max(1.5, height*float64(n)/float64(most))
		c.Bars = append(c.Bars, bar{
			X: place(float64(i) * width / chartBars), Width: place(width/chartBars - 0.25), Y: place(height - tall), Height: place(tall),
			About: from.Add(time.Duration(i)*step).UTC().Format(time.DateTime) + ": " + text(n),
		})
	}
	return c
}
