package mounttest

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// diskEnv has the folder of the process that Disk has started.
const diskEnv = "DRIFTDB_TEST_DISK"

// Disk runs the test that calls it again, in a process that has a small file system
// of its own, made with options (see tmpfs). There it returns a folder in which
// "disk" is that file system, whether or not it is the first call; in the first
// process it returns "", and the test then has nothing more to do. The process has env
// in its environment, with {disk} replaced by the path of that. It needs no root;
// where it cannot be had the test is skipped.
func Disk(t *testing.T, options string, env ...string) string {
	t.Helper()
	if dir := os.Getenv(diskEnv); dir != "" {
		return mounted(t, dir, options)
	}
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "disk"), 0o700); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run", pattern(t.Name()), "-test.v")
	cmd.Env = append(os.Environ(), diskEnv+"="+dir)
	for _, e := range env {
		cmd.Env = append(cmd.Env, strings.ReplaceAll(e, "{disk}", filepath.Join(dir, "disk")))
	}
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
	out, err := cmd.CombinedOutput()
	if _, exited := errors.AsType[*exec.ExitError](err); err != nil && !exited {
		t.Skipf("a file system of one's own is not to be had here: %v", err)
	}
	t.Logf("%s", out)
	if err != nil {
		t.Error(err)
	} else if bytes.Contains(out, []byte("--- SKIP")) {
		t.Skip("see above")
	}
	return ""
}

// mounted mounts the file system, unless the process that started this one has.
func mounted(t *testing.T, dir, options string) string {
	t.Helper()
	var above, disk syscall.Stat_t
	err := errors.Join(syscall.Stat(dir, &above), syscall.Stat(filepath.Join(dir, "disk"), &disk))
	if err == nil && above.Dev == disk.Dev {
		err = syscall.Mount("driftdb", filepath.Join(dir, "disk"), "tmpfs", 0, options)
	}
	if err != nil {
		t.Skipf("a file system of one's own is not to be had here: mount: %v", err)
	}
	return dir
}
