package sqlite

import (
	"errors"
	"strings"
	"testing"
)

// TestProbe: the self-test passes, is run once, and names the field that is not what it
// is taken for.
func TestProbe(t *testing.T) {
	defer func(is bool) { proven.is = is }(proven.is)
	proven.is = false
	if err := provePrivate(); err != nil || !proven.is {
		t.Fatalf("passed: %v, %v", proven.is, err)
	}
	c, err := new(Driver).Open(":memory:", Options{KeepJournal: true})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	p := &probe{c: c}
	p.exec("CREATE TABLE other(a INTEGER PRIMARY KEY); INSERT INTO other VALUES(1)") // total_changes is one more than the probe expects
	if err := p.run(); !errors.Is(err, errPrivate) || !strings.Contains(err.Error(), "(not as expected: counters)") {
		t.Errorf("a field that is something else: %v", err)
	}
	p = &probe{c: c}
	if err := p.run(); err == nil || errors.Is(err, errPrivate) {
		t.Errorf("a statement that fails is no proof: %v", err)
	}
}

func BenchmarkProbe(b *testing.B) {
	defer func(is bool) { proven.is = is }(proven.is)
	for b.Loop() {
		proven.is = false
		if err := provePrivate(); err != nil {
			b.Fatal(err)
		}
	}
}
