package dbtest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// Compare says how two databases differ; nil means that both hold the same,
// and are sound.
func Compare(source, restored string) error {
	a, err := Dump(source)
	if err != nil {
		return fmt.Errorf("dump %s: %w", source, err)
	}
	b, err := Dump(restored)
	if err != nil {
		return fmt.Errorf("dump %s: %w", restored, err)
	}
	return CompareDumps(a, b)
}

// CompareDumps compares what Dump has made of two databases.
func CompareDumps(source, restored string) error {
	if source != restored {
		return errors.New("the restored database differs:\n" + Diff(source, restored))
	}
	for line := range strings.Lines(source) {
		if strings.HasPrefix(line, "integrity_check|") && line != "integrity_check|\"ok\"\n" {
			return errors.New("both databases are damaged: " + line)
		}
	}
	return nil
}

// Diff lists up to a dozen lines that only one of two dumps has.
func Diff(source, restored string) string {
	count := map[string]int{}
	for l := range strings.Lines(source) {
		count[l]++
	}
	for l := range strings.Lines(restored) {
		count[l]--
	}
	var out []string
	for l, n := range count {
		switch {
		case n > 0:
			out = append(out, fmt.Sprintf("only in the source:   %.300s", l))
		case n < 0:
			out = append(out, fmt.Sprintf("only in the restored: %.300s", l))
		}
	}
	slices.Sort(out)
	return strings.Join(out[:min(len(out), 12)], "")
}

// Equal fails the test unless both databases hold the same, and are sound.
func Equal(t testing.TB, source, restored string) {
	t.Helper()
	if err := Compare(source, restored); err != nil {
		t.Fatal(err)
	}
}
