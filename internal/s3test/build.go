package s3test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"time"

	"github.com/gofrs/flock"
)

// build returns the path of the server's program. It is built once for a
// machine, source and Go version, and kept in the user's cache folder; the
// tests of several packages run at once, so a file lock is held meanwhile.
func build(ctx context.Context) (string, error) {
	source, err := sourceDir(ctx)
	if err != nil {
		return "", err
	}
	version, err := fingerprint(source)
	if err != nil {
		return "", err
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	folder := filepath.Join(cache, "driftdb-tests")
	if err := os.MkdirAll(folder, 0o700); err != nil {
		return "", err
	}
	program := filepath.Join(folder, "versitygw-"+version)
	if runtime.GOOS == "windows" {
		program += ".exe"
	}
	lock := flock.New(program + ".lock")
	if _, err := lock.TryLockContext(ctx, 50*time.Millisecond); err != nil {
		return "", fmt.Errorf("wait for the build of another test: %w", err)
	}
	defer lock.Close()
	if _, err := os.Stat(program); err == nil {
		return program, nil
	}
	return program, compile(ctx, source, program)
}

// sourceDir finds tools/versitygw beside the go.mod that the test belongs to.
func sourceDir(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "env", "GOMOD").Output()
	if err != nil {
		return "", fmt.Errorf("go env GOMOD: %w", err)
	}
	return filepath.Join(filepath.Dir(string(bytes.TrimSpace(out))), "tools", "versitygw"), nil
}

func fingerprint(source string) (string, error) {
	hash := sha256.New()
	fmt.Fprintln(hash, runtime.Version(), runtime.GOOS, runtime.GOARCH)
	for _, name := range []string{"go.mod", "go.sum", "main.go"} {
		content, err := os.ReadFile(filepath.Join(source, name))
		if err != nil {
			return "", err
		}
		fmt.Fprintln(hash, len(content))
		hash.Write(content)
	}
	return fmt.Sprintf("%x", hash.Sum(nil)[:8]), nil
}

// compile builds beside the target and renames, so that a build that is
// interrupted leaves no half program.
func compile(ctx context.Context, source, program string) error {
	half := program + ".half"
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-o", half, ".")
	cmd.Dir = source
	cmd.Env = append(os.Environ(), "GOWORK=off", "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return errors.Join(fmt.Errorf("go build in %s (is the module proxy reachable?): %w: %s", source, err, out), os.RemoveAll(half))
	}
	return os.Rename(half, program)
}
