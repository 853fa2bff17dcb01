package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
)

// A module without a known licence, or with one that is not allowed, is refused.
func TestJudge(t *testing.T) {
	read := func(path string) []byte {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	ours := read(filepath.Join(root, "LICENSE"))
	copyleft := []byte("SPDX-License-Identifier: AGPL-3.0-only\n" + "This program is free software: you can redistribute it and/or modify it under the terms of the GNU Affero General Public License as published by the Free Software Foundation, either version 3 of the License, or (at your option) any later version.")
	for name, c := range map[string]struct {
		files []text
		ok    bool
	}{
		"MIT":                  {[]text{{"LICENSE", ours}}, true},
		"MIT, called a notice": {[]text{{"NOTICE", ours}}, false},
		"none":                 {nil, false},
		"another one":          {[]text{{"COPYING", copyleft}}, false},
		"MIT and another one":  {[]text{{"COPYING.LESSER", copyleft}, {"LICENSE", ours}}, false},
	} {
		found, err := judge("example.com/m", c.files)
		if (err == nil) != c.ok {
			t.Errorf("%s: %v, %v", name, found, err)
		}
	}
	if err := auditLicences(t.Context(), false); err != nil {
		t.Error(err)
	}
}

// The index names each vulnerability of a module once.
func TestLay(t *testing.T) {
	from, to := t.TempDir(), t.TempDir()
	for name, body := range map[string]string{
		"GO-1.json": `{"id":"GO-1","modified":"2026-01-02T00:00:00Z","affected":[{"package":{"name":"a"}},{"package":{"name":"a"}},{"package":{"name":"b"}}]}`,
		"GO-2.json": `{"id":"GO-2","modified":"2026-01-01T00:00:00Z","affected":[{"package":{"name":"a"}}]}`,
	} {
		if err := os.WriteFile(filepath.Join(from, name), []byte(body), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := lay(from, to); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{
		"index/db.json":      `{"modified":"2026-01-02T00:00:00Z"}`,
		"index/modules.json": `[{"path":"a","vulns":[{"id":"GO-1","modified":"2026-01-02T00:00:00Z"},{"id":"GO-2","modified":"2026-01-01T00:00:00Z"}]},{"path":"b","vulns":[{"id":"GO-1","modified":"2026-01-02T00:00:00Z"}]}]`,
	} {
		got, err := os.ReadFile(filepath.Join(to, name))
		if err != nil || string(got) != want || !json.Valid(got) {
			t.Errorf("%s: %s (%v)", name, got, err)
		}
	}
	if err := lay(t.TempDir(), t.TempDir()); err == nil {
		t.Error("a database without entries is one")
	}
}
