package systemtest

import (
	"os"
	"strconv"
	"testing"
)

// Setting returns a number that the environment may set for the long form of a test.
func Setting(t testing.TB, name string, normal int) int {
	t.Helper()
	s := os.Getenv(name)
	if s == "" {
		return normal
	}
	n, err := strconv.Atoi(s)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	return n
}
