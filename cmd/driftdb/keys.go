package main

import (
	"fmt"
	"os"
	"runtime"
	"strings"

	"github.com/driftdb/driftdb-go"
)

// keys returns the encryption keys: those of --key-file, or else those of the
// environment. None means that the bucket is not encrypted. They are checked
// by the library, which never repeats them in an error.
func (a *app) keys() ([]string, error) {
	if a.keyFile == "" {
		if strings.TrimSpace(os.Getenv(driftdb.KeyVariable)) == "" {
			return nil, nil
		}
		return driftdb.KeysFromEnv()
	}
	content, err := os.ReadFile(a.keyFile)
	if err != nil {
		return nil, fmt.Errorf("read the keys: %w", err)
	}
	a.warnOfReaders()
	var keys []string
	for line := range strings.Lines(string(content)) {
		line, _, _ = strings.Cut(line, "#")
		if line = strings.TrimSpace(line); line != "" {
			keys = append(keys, line)
		}
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("the key file %s holds no key; write 64 hex digits on a line", a.keyFile)
	}
	return keys, nil
}

// warnOfReaders says if others than the owner may read the key file, or put another
// key into it. On Windows the mode does not tell; a pipe has nothing to read again.
func (a *app) warnOfReaders() {
	info, err := os.Stat(a.keyFile)
	if err != nil || !info.Mode().IsRegular() || runtime.GOOS == "windows" {
		return
	}
	if mode := info.Mode().Perm(); mode&0o066 != 0 {
		a.stderr.Printf("warning: other users may read or write the key file %s (mode %04o): chmod 600 takes that away; "+
			"if somebody may have read the keys, replace them\n", a.keyFile, mode)
	}
}
