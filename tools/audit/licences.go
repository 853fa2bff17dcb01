package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/google/licensecheck"
)

// list is the file that lists all modules.
const list = "THIRD_PARTY.md"

// allowed are the licences that a module may be under. They require no more than passing
// on their text.
var allowed = []string{"0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "CC0-1.0", "ISC", "MIT", "Unlicense", "blessing"}

// elsewhere are licences that a module's files name but that apply to nothing that is
// shipped, by the module's path, file and licence.
var elsewhere = map[[3]string]string{
	{"modernc.org/sqlite", "LICENSE-3RD-PARTY.md", "MPL-2.0"}: "of golang-lru, which is in its go.sum and in no program: see the file's section 3",
}

// shipped are the packages that may be part of a user's program, and the command, in the
// folder of each module.
var shipped = []struct {
	folder   string
	packages []string
}{
	{root, []string{".", "./objstore/...", "./inspect/...", "./cmd/..."}},
	{root + "/driftgorm", []string{"./..."}},
	{root + "/driftotel", []string{"./..."}},
	{root + "/driftprom", []string{"./..."}},
}

// isOurs reports whether a module is DriftDB or one of the modules in its repository.
func isOurs(module string) bool {
	return module == ours || strings.HasPrefix(module, ours+"/")
}

const ours = "github.com/driftdb/driftdb-go"

// auditLicences returns an error if a module that is shipped is under a licence that is
// not allowed, or if the list is out of date. With write, it writes the list.
func auditLicences(ctx context.Context, write bool) error {
	folders, err := modules(ctx)
	if err != nil {
		return err
	}
	var want bytes.Buffer
	want.WriteString(head)
	var errs []error
	for _, path := range sorted(folders) {
		files, err := textsIn(folders[path])
		if err != nil {
			return err
		}
		found, err := judge(path, files)
		errs = append(errs, err)
		fmt.Fprintf(&want, "| %s | %s |\n", path, strings.Join(found, ", "))
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	path := filepath.Join(root, list)
	if write {
		return os.WriteFile(path, want.Bytes(), 0o644)
	}
	if have, err := os.ReadFile(path); err != nil || !bytes.Equal(have, want.Bytes()) {
		return errors.Join(err, fmt.Errorf("%s does not match DriftDB's dependencies; run: make licences", list))
	}
	fmt.Printf("licences: %d modules, all under licences that are allowed, all in %s\n", len(folders), list)
	return nil
}

const head = `# Third parties

The modules that a program may contain which is built with DriftDB (the command is one) or
with its modules driftgorm, driftotel and driftprom, and under which licences they are. ` + "`make licences`" + ` writes this list, and CI
compares it. Whoever passes such a program on has to pass on the licences as well:
` + "`go run . -texts`" + ` in tools/audit prints those of the modules, and Go has one, too.

| module | licence |
|---|---|
`

// printTexts prints the licences and notices of all modules.
func printTexts(ctx context.Context) error {
	folders, err := modules(ctx)
	if err != nil {
		return err
	}
	for _, path := range sorted(folders) {
		files, err := textsIn(folders[path])
		if err != nil {
			return err
		}
		for _, f := range files {
			fmt.Printf("==== %s, %s\n\n%s\n\n", path, f.name, f.body)
		}
	}
	return nil
}

// modules returns the modules of the shipped packages on all systems that DriftDB is built
// for, with their folders in the module cache.
func modules(ctx context.Context) (map[string]string, error) {
	folders := map[string]string{}
	for _, m := range shipped {
		for _, system := range []string{"linux", "darwin", "windows"} {
			if err := addModules(ctx, folders, m.folder, m.packages, system); err != nil {
				return nil, err
			}
		}
	}
	return folders, nil
}

func addModules(ctx context.Context, folders map[string]string, module string, packages []string, system string) error {
	args := append([]string{"list", "-deps", "-f", "{{with .Module}}{{.Path}}\t{{.Dir}}{{end}}"}, packages...)
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir, cmd.Env, cmd.Stderr = module, append(os.Environ(), "GOOS="+system, "GOARCH=amd64", "CGO_ENABLED=0"), os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return fmt.Errorf("go list for %s in %s: %w", system, module, err)
	}
	for line := range strings.Lines(string(out)) {
		if path, folder, ok := strings.Cut(strings.TrimSpace(line), "\t"); ok && !isOurs(path) {
			folders[path] = folder
		}
	}
	return nil
}

var (
	licenceName = regexp.MustCompile(`(?i)^(.*-)?(licen[cs]e|copying|unlicen[cs]e)([.-].*)?$`)
	noticeName  = regexp.MustCompile(`(?i)^notices?(\..*)?$`)
)

// A text is a file with a licence or a notice.
type text struct {
	name string
	body []byte
}

// textsIn returns the licences and notices of the module in folder.
func textsIn(folder string) (files []text, err error) {
	entries, err := os.ReadDir(folder)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if e.IsDir() || !licenceName.MatchString(e.Name()) && !noticeName.MatchString(e.Name()) {
			continue
		}
		data, err := os.ReadFile(filepath.Join(folder, e.Name()))
		if err != nil {
			return nil, err
		}
		files = append(files, text{e.Name(), data})
	}
	return files, nil
}

// judge returns the licences of a module, or an error if one of them is not allowed.
func judge(module string, files []text) (found []string, err error) {
	for _, f := range files {
		if !licenceName.MatchString(f.name) {
			continue
		}
		for _, m := range licensecheck.Scan(f.body).Match {
			switch {
			case elsewhere[[3]string{module, f.name, m.ID}] != "":
			case !slices.Contains(allowed, m.ID):
				return nil, fmt.Errorf("%s: %s has licence %s, which is not one of those allowed: %s", module, f.name, m.ID, strings.Join(allowed, ", "))
			case !slices.Contains(found, m.ID):
				found = append(found, m.ID)
			}
		}
	}
	if len(found) == 0 {
		return nil, fmt.Errorf("%s: no known licence found", module)
	}
	slices.Sort(found)
	return found, nil
}

func sorted[K cmp.Ordered, V any](m map[K]V) []K {
	keys := make([]K, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
