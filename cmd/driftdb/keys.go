package main

import (
	"fmt"
	"os"
	"runtime"
	"strings"

	"github.com/driftdb/driftdb-go"
)

// keyFileVariable names the file with the keys where --key-file does not.
const keyFileVariable = "DRIFTDB_KEY_FILE"

// keys returns the encryption keys from --key-file, or else from the
// environment. None means that the bucket is not encrypted. The library checks
// them and never repeats them in an error.
func (a *app) keys() ([]string, error) {
	file := a.keyFile
	if file == "" {
		file = os.Getenv(keyFileVariable)
		if file != "" && os.Getenv(driftdb.KeyVariable) != "" {
			return nil, usagef("both %s and %s are set; unset one of them, or choose with --key-file", keyFileVariable, driftdb.KeyVariable)
		}
	}
	if file == "" {
		if strings.TrimSpace(os.Getenv(driftdb.KeyVariable)) == "" {
			return nil, nil
		}
		return driftdb.KeysFromEnv()
	}
	content, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read the keys: %w", err)
	}
	a.warnOfReaders(file, "key")
	var keys []string
	for line := range strings.Lines(string(content)) {
		line, _, _ = strings.Cut(line, "#")
		if line = strings.TrimSpace(line); line != "" {
			keys = append(keys, line)
		}
	}
	if len(keys) == 0 {
		return nil, fmt.Errorf("the key file %s holds no key; write one key of 64 hex digits per line", file)
	}
	return keys, nil
}

// warnOfReaders warns if users other than the owner may read or write a file that holds a
// key or another secret. It skips Windows, where the mode does not tell, and pipes, which
// cannot be read again.
func (a *app) warnOfReaders(file, what string) {
	info, err := os.Stat(file)
	if err != nil || !info.Mode().IsRegular() || runtime.GOOS == "windows" {
		return
	}
	if mode := info.Mode().Perm(); mode&0o066 != 0 {
		a.stderr.Printf("warning: other users may read or write the %s file %s (mode %04o): run chmod 600 on it; "+
			"if somebody may have read the %ss, replace them\n", what, file, mode, what)
	}
}
