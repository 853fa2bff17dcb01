package main

import (
	"context"
	"testing"
	"time"
)

// TestMixtures: both sides can do every kind of work, at the same time as all others.
func TestMixtures(t *testing.T) {
	for i, open := range []func(context.Context, string) (side, error){openOurs, openPlain} {
		got, err := measure(t.Context(), open, mixture{"all kinds", kinds}, 300*time.Millisecond)
		if err != nil {
			t.Fatalf("side %d: %v", i, err)
		}
		for _, k := range kinds {
			if got[k.name].rate == 0 {
				t.Errorf("side %d: no %s", i, k.name)
			}
		}
	}
}
