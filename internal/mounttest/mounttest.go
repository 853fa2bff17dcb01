// Package mounttest lets a test mount and unmount, which needs root and Linux:
// it runs the test in a process of its own, with mounts that nobody else sees.
package mounttest

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strings"
	"testing"
)

// insideEnv has the name of the test that runs in a mount namespace of its own.
const insideEnv = "DRIFTDB_TEST_MOUNTS"

// Inside says whether the test runs in a mount namespace of its own. If it does
// not, Inside runs it there, in another process, and returns false: the test
// then has nothing more to do. Where that cannot be had the test is skipped.
func Inside(t *testing.T) bool {
	t.Helper()
	if os.Getenv(insideEnv) == t.Name() {
		return true
	}
	if reason := missing(t); reason != "" {
		t.Skipf("mounts need root and unshare(1) of util-linux: %s", reason)
	}
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := unshare(t, program, "-test.run", pattern(t.Name()), "-test.v", "-test.count", "1")
	cmd.Env = append(os.Environ(), insideEnv+"="+t.Name())
	out, err := cmd.CombinedOutput()
	switch {
	case err != nil:
		t.Errorf("in a mount namespace of its own: %v\n%s", err, out)
	case !strings.Contains(string(out), "--- PASS: "+t.Name()+" "):
		t.Errorf("the test has not run in its mount namespace:\n%s", out)
	}
	return false
}

// Possible says whether there can be mounts of a test's own here.
func Possible(t *testing.T) bool {
	t.Helper()
	return os.Getenv(insideEnv) != "" || missing(t) == ""
}

// missing says what is not here that a mount namespace takes.
func missing(t *testing.T) string {
	if runtime.GOOS != "linux" {
		return "this is " + runtime.GOOS
	}
	if os.Geteuid() != 0 {
		return "this is not root"
	}
	if out, err := unshare(t, "mount", "--bind", t.TempDir(), t.TempDir()).CombinedOutput(); err != nil {
		return fmt.Sprintf("%v: %s", err, out)
	}
	return ""
}

// unshare is a command in a mount namespace of its own. It ends with the test.
func unshare(t *testing.T, program string, args ...string) *exec.Cmd {
	return exec.CommandContext(t.Context(), "unshare", append([]string{"-m", "--propagation", "private", program}, args...)...)
}

// pattern is a -test.run that matches one test, or one subtest.
func pattern(name string) string {
	elems := strings.Split(name, "/")
	for i, e := range elems {
		elems[i] = "^" + regexp.QuoteMeta(e) + "$"
	}
	return strings.Join(elems, "/")
}

// Bind mounts a file or folder at another path as well.
func Bind(t testing.TB, what, at string) {
	t.Helper()
	run(t, "mount", "--bind", what, at)
}

// Detach unmounts a path even if something below it is open, as does a disk
// that is pulled out.
func Detach(t testing.TB, path string) {
	t.Helper()
	run(t, "umount", "-l", path)
}

func run(t testing.TB, program string, args ...string) {
	t.Helper()
	if out, err := exec.Command(program, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s %s: %v: %s", program, strings.Join(args, " "), err, out)
	}
}
