package main

import (
	"encoding/json"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
)

// TestVersion builds the program as releases are built, and asks it.
func TestVersion(t *testing.T) {
	if testing.Short() {
		t.Skip("builds the command, which takes 3 s")
	}
	program := filepath.Join(t.TempDir(), "driftdb.exe")
	stamp := "-X main.release=v1.2.3 -X main.commit=0123456789abcdef0123"
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-buildvcs=false", "-ldflags", stamp, "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	want := "driftdb v1.2.3 0123456789ab (" + runtime.Version() + ", " + runtime.GOOS + "/" + runtime.GOARCH + ")\n"
	for _, how := range []string{"version", "--version"} {
		out, err := exec.CommandContext(t.Context(), program, how).Output()
		if err != nil || string(out) != want {
			t.Errorf("driftdb %s: %q, %v; want %q", how, out, err, want)
		}
	}
	out, err := exec.CommandContext(t.Context(), program, "version", "--json").Output()
	if err != nil {
		t.Fatal(err)
	}
	var b build
	if err := json.Unmarshal(out, &b); err != nil {
		t.Fatal(err)
	}
	if b.Version != "v1.2.3" || b.Commit != "0123456789abcdef0123" || b.Go != runtime.Version() {
		t.Errorf("driftdb version --json: %s", out)
	}
}

// TestVersionUnstamped: without the linker's help there is still a version.
func TestVersionUnstamped(t *testing.T) {
	if b := thisBuild(); b.Version == "" || b.Go == "" || b.Platform == "" {
		t.Errorf("%+v", b)
	}
}
