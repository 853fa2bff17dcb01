package terminal

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestBar: a stage that is full does not hide the next one, whose size may come to
// be known later.
func TestBar(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out strings.Builder
		p := (&Screen{w: &out, terminal: true}).Bar("restoring", -1)
		set := func(what string, done, total int64) {
			p.Set(what, done, total)
			time.Sleep(time.Second) // the bar is drawn ten times a second at most
		}
		set("replay", 1, 2)
		set("replay", 2, 2)
		set("check", 0, -1)
		out.Reset()
		set("check", 0, 4)
		set("check", 1, 4)
		set("check", 3, 4)
		p.Stop()
		for _, want := range []string{"check", "25%", "75%"} {
			if !strings.Contains(out.String(), want) {
				t.Errorf("the bar does not show %q: %q", want, out.String())
			}
		}
	})
}
