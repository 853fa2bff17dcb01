package main

import (
	"bytes"
	"context"
	"database/sql"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/driftdb/driftdb-go/internal/doctor"
)

// TestDoctorPage: each check is explained, and the example is what the command prints.
func TestDoctorPage(t *testing.T) {
	p := newPage(t, "OPERATIONS.md")
	_, part, _ := strings.Cut(p.text, "\n## The doctor\n")
	p.text, _, _ = strings.Cut(part, "\n## ")
	for _, name := range doctor.Checks() {
		if !strings.Contains(p.text, "| "+name+" |") {
			t.Errorf("the page does not explain the check %s", name)
		}
	}
	if rows := strings.Count(p.text, "\n| ") - 1; rows != len(doctor.Checks()) {
		t.Errorf("the page explains %d checks, and there are %d", rows, len(doctor.Checks()))
	}
	p.mkdir("store")
	t.Setenv("XDG_CACHE_HOME", p.dir)
	t.Setenv("HOME", p.dir)
	writeShop(t, p.dir, "CREATE TABLE orders(id INTEGER PRIMARY KEY, customer TEXT)")
	db, err := sql.Open("sqlite", filepath.Join(p.dir, "shop.sqlite"))
	check(t, err)
	_, err = db.Exec("INSERT INTO orders VALUES(1, 'Ada')")
	check(t, err)
	check(t, db.Close())
	p.play(nil)
	if p.compared != 1 {
		t.Errorf("%d commands were found", p.compared)
	}
}

// TestVerifyEvery: it verifies at once, remembers that, and ends with 0; it waits if this machine
// has verified the backup a moment ago; and it ends with the code of the last verification.
func TestVerifyEvery(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("a process cannot send signals there")
	}
	dir := t.TempDir()
	t.Setenv("XDG_CACHE_HOME", dir)
	t.Setenv("HOME", dir)
	check(t, os.Mkdir(filepath.Join(dir, "store"), 0o700))
	writeShop(t, dir, "CREATE TABLE orders(id INTEGER PRIMARY KEY, customer TEXT); INSERT INTO orders VALUES(1, 'Ada')")
	place := []string{"--store", folderURL(filepath.Join(dir, "store")), "--name", "shop"}

	every := func(out, err string, want int) {
		t.Helper()
		var stdout, stderr awaited
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		cmd := exec.CommandContext(ctx, "driftdb", append([]string{"verify", "--every", "24h"}, place...)...)
		stdout.want, stderr.want = out, err
		stdout.done, stderr.done = make(chan struct{}, 1), make(chan struct{}, 1)
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		check(t, cmd.Start())
		select {
		case <-stdout.done:
		case <-stderr.done:
		case <-time.After(time.Minute):
			t.Error("it does not say what it should")
		}
		check(t, cmd.Process.Signal(os.Interrupt))
		if err := cmd.Wait(); cmd.ProcessState.ExitCode() != want {
			t.Errorf("exit code %d, want %d: %v\n%s%s", cmd.ProcessState.ExitCode(), want, err, &stdout.text, &stderr.text)
		}
	}
	every("verified shop up to change 2", "", 0)
	every("", "note: this machine last verified shop at", 0)

	batches, err := filepath.Glob(filepath.Join(dir, "store", "databases", "shop", "nodes", "*", "logs", "*.json"))
	check(t, err)
	for _, batch := range batches {
		check(t, os.Remove(batch))
	}
	check(t, os.RemoveAll(filepath.Join(dir, "driftdb")))
	check(t, os.RemoveAll(filepath.Join(dir, "Library")))
	every("", "the bucket's data is damaged", exitDamaged)
	runs(t, "", exitUsage, append([]string{"verify", "--every", "1s"}, place...)...)
}

// awaited says once when something has been written to it.
type awaited struct {
	text bytes.Buffer // not embedded: exec would copy into it with its ReadFrom
	want string
	done chan struct{}
	said bool
}

func (a *awaited) Write(p []byte) (int, error) {
	n, err := a.text.Write(p)
	if !a.said && a.want != "" && strings.Contains(a.text.String(), a.want) {
		a.said = true
		a.done <- struct{}{}
	}
	return n, err
}
