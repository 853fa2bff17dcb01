package follow

import (
	"testing"
	"time"
)

// TestPace: when the store is asked next.
func TestPace(t *testing.T) {
	p := newPace(5 * time.Second)
	want := func(what string, told, awaited bool, intervals ...time.Duration) {
		t.Helper()
		for i, d := range intervals {
			if got := p.next(told, awaited); got != d {
				t.Errorf("%s: interval %d is %s, want %s", what, i, got, d)
			}
			p.nothing()
		}
	}
	want("nothing comes", false, false, 5*time.Second, 10*time.Second, 20*time.Second, 40*time.Second, time.Minute, time.Minute)
	p.came()
	want("something came", false, false, 5*time.Second, 10*time.Second)
	p.asked()
	want("somebody waits", false, true, 100*time.Millisecond, 200*time.Millisecond, 400*time.Millisecond, 800*time.Millisecond,
		1600*time.Millisecond, 3200*time.Millisecond, 5*time.Second, 5*time.Second)
	want("the store tells", true, false, time.Minute, time.Minute)
	p.asked()
	want("the store tells, and somebody waits", true, true, 100*time.Millisecond)

	p = newPace(10 * time.Millisecond)
	want("often", false, true, 10*time.Millisecond, 10*time.Millisecond)
	p = newPace(time.Hour)
	want("seldom", false, false, time.Hour, time.Hour)
	want("seldom, and the store tells", true, false, time.Hour)
}
