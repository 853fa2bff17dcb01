package main

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/terminal"
)

// exitSecret is the exit code of a program that has printed a secret. No test wants it.
const exitSecret = 99

// watched is main for tests: it fails if a secret that the program was given is in its
// output, or in a file of the test's that is not one with keys.
func watched() {
	var printed, errs bytes.Buffer
	code := program(onTerminal(os.Stdout, &printed), onTerminal(os.Stderr, &errs))
	printed.Write(errs.Bytes())
	secrets := givenSecrets(os.Args[1:])
	if secret := leaked(printed.Bytes(), secrets); secret != "" {
		fmt.Fprintf(os.Stderr, "TEST FAILED: the secret %.4s… was printed\n", secret)
		code = exitSecret
	}
	if work := os.Getenv("WORK"); work != "" { // as scripts have it
		for _, found := range leakedInto(work, secrets) {
			fmt.Fprintln(os.Stderr, "TEST FAILED:", found)
			code = exitSecret
		}
	}
	os.Exit(code)
}

// onTerminal copies what is printed, but leaves a terminal one.
func onTerminal(f *os.File, copied io.Writer) io.Writer {
	if terminal.New(f).IsTerminal() {
		return f
	}
	return io.MultiWriter(f, copied)
}

// leakedInto names the files below folder that a secret is in. Files with keys end in
// .keys.
func leakedInto(folder string, secrets []string) (found []string) {
	_ = filepath.WalkDir(folder, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() || filepath.Ext(path) == ".keys" {
			return nil // others may remove it
		}
		data, _ := os.ReadFile(path)
		if secret := leaked(append([]byte(path+"\n"), data...), secrets); secret != "" {
			found = append(found, fmt.Sprintf("%s has the secret %.4s…", path, secret))
		}
		return nil
	})
	return found
}

// givenSecrets are the keys and credentials that a program with these arguments gets.
func givenSecrets(args []string) []string {
	secrets := strings.Split(os.Getenv(driftdb.KeyVariable), ",")
	if content, err := os.ReadFile(os.Getenv(keyFileVariable)); err == nil {
		secrets = append(secrets, strings.Fields(string(content))...)
	}
	secrets = append(secrets, os.Getenv("AWS_SECRET_ACCESS_KEY"), os.Getenv("AWS_SESSION_TOKEN"))
	for i, arg := range args {
		file, joined := strings.CutPrefix(arg, "--key-file=")
		if arg == "--key-file" && i+1 < len(args) {
			file, joined = args[i+1], true
		}
		if content, err := os.ReadFile(file); joined && err == nil {
			secrets = append(secrets, strings.Fields(string(content))...)
		}
	}
	return secrets
}

// leaked returns the secret of which half is in what was printed, in some spelling.
// Short ones are words like "wrong", which scripts look for themselves.
func leaked(printed []byte, secrets []string) string {
	for _, secret := range secrets {
		secret = strings.TrimSpace(secret)
		if len(secret) < 16 {
			continue
		}
		half := secret[:len(secret)/2]
		spellings := []string{half, strings.ToUpper(half), hex.EncodeToString([]byte(half)), base64Start([]byte(half))}
		if raw, err := hex.DecodeString(half); err == nil {
			spellings = append(spellings, string(raw), strings.Trim(fmt.Sprint(raw), "[]"), base64Start(raw))
		}
		for _, s := range spellings {
			if bytes.Contains(printed, []byte(s)) {
				return secret
			}
		}
	}
	return ""
}

// base64Start is how the base64 of all that starts with b starts.
func base64Start(b []byte) string { return base64.StdEncoding.EncodeToString(b[:len(b)/3*3]) }

// TestWatched: the watch over the scripts sees what it is there for.
func TestWatched(t *testing.T) {
	const key = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
	raw, err := hex.DecodeString(key)
	check(t, err)
	for _, printed := range []string{
		key, key[:40], strings.ToUpper(key), fmt.Sprintf("%x", key),
		string(raw), fmt.Sprint(raw), base64.StdEncoding.EncodeToString(raw),
	} {
		if leaked([]byte("text "+printed+" text"), []string{"", "wrong", " " + key}) != key {
			t.Errorf("%q is not seen", printed)
		}
	}
	folder := t.TempDir()
	for _, name := range []string{"a.keys", "a.db"} {
		check(t, os.WriteFile(filepath.Join(folder, name), raw, 0o600))
	}
	if found := leakedInto(folder, []string{key}); len(found) != 1 || !strings.Contains(found[0], "a.db") {
		t.Errorf("in files: %q", found)
	}
	if found := leaked([]byte("01234567, wrong"), []string{key, "wrong", ""}); found != "" {
		t.Errorf("%q is seen where it is not", found)
	}
}
