package changelog_test

import (
	"math"
	"testing"

	"github.com/driftdb/driftdb-go/internal/changelog"
)

// TestCap: the limit counts what was not sent; without one of its own the log may have
// twice the size of the database, and 256 MiB at least.
func TestCap(t *testing.T) {
	const MiB = 1 << 20
	for _, c := range []struct {
		limit  int64
		log    changelog.Size
		size   int64
		within int64
		is     bool
	}{
		{MiB, changelog.Size{Bytes: 9 * MiB, Unsent: MiB}, 10 * MiB, MiB, false},
		{MiB, changelog.Size{Bytes: 9 * MiB, Unsent: MiB + 1}, 10 * MiB, MiB, true},
		{-1, changelog.Size{Bytes: 1 << 50, Unsent: 1 << 50}, 2 << 50, math.MaxInt64, false},
		{0, changelog.Size{Bytes: 256 * MiB, Unsent: 256 * MiB}, 300 * MiB, 256 * MiB, false},
		{0, changelog.Size{Bytes: 257 * MiB, Unsent: 257 * MiB}, 300 * MiB, 256 * MiB, true},
		{0, changelog.Size{Bytes: 500 * MiB, Unsent: 400 * MiB}, 1000 * MiB, 1000 * MiB, false},
		{0, changelog.Size{Bytes: 500 * MiB, Unsent: 400 * MiB}, 650 * MiB, 300 * MiB, true},
	} {
		if within, is := changelog.NewCap(c.limit).Exceeded(c.log, c.size); within != c.within || is != c.is {
			t.Errorf("%+v: %d, %v", c, within, is)
		}
	}
}

// TestCapDue: the log is measured at first, and then after each eighth of the limit.
func TestCapDue(t *testing.T) {
	c := changelog.NewCap(800)
	for _, step := range []struct {
		logged int64
		due    bool
	}{{0, true}, {0, false}, {100, false}, {101, true}, {200, false}, {201, true}, {5000, true}, {5099, false}} {
		if got := c.Due(step.logged); got != step.due {
			t.Errorf("after %d bytes: %v", step.logged, got)
		}
	}
}
