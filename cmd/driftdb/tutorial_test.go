package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestTutorial plays docs/TUTORIAL.md as a reader would on a new machine: it makes a module,
// puts the page's program into it, builds it with this module as the library, and runs it.
func TestTutorial(t *testing.T) {
	if testing.Short() {
		t.Skip("builds and links a program")
	}
	needs(t, "go")
	p := newPage(t, "TUTORIAL.md")
	root, err := filepath.Abs("../..")
	check(t, err)
	// Only what is here: the library is this module, and its own needs are in the cache.
	t.Setenv("GOFLAGS", "-mod=mod")
	t.Setenv("GOPROXY", "off")
	t.Setenv("GOWORK", "off")
	sums, err := os.ReadFile(filepath.Join(root, "go.sum"))
	check(t, err)
	const fetch = "go get github.com/driftdb/driftdb-go\n"
	if !strings.Contains(p.text, fetch) {
		t.Fatalf("the page has no %q", fetch)
	}
	check(t, os.WriteFile(filepath.Join(p.dir, "go.sum"), sums, 0o600))
	p.text = strings.Replace(p.text, fetch, "go mod edit -require=github.com/driftdb/driftdb-go@v0.0.0 '-replace=github.com/driftdb/driftdb-go="+filepath.ToSlash(root)+"'\n", 1)
	p.runsAll("sh", "console", "go")
	programs := 0
	p.play(map[string]func(string){"go": func(program string) {
		programs++
		check(t, os.WriteFile(filepath.Join(p.dir, "main.go"), []byte(program), 0o600))
	}})
	if programs != 1 || p.compared < 10 {
		t.Errorf("%d programs and %d commands were found", programs, p.compared)
	}
}
