package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"

	"golang.org/x/vuln/scan"
)

// The database of known vulnerabilities is a module, too, so it comes through Go's module
// proxy like all others, and stays in the module cache. It has no package to import, so
// its version and hash are here instead of in go.mod.
const (
	database   = "golang.org/x/vulndb"
	pinned     = "v0.0.0-20261105234957-e22db6528018"
	pinnedHash = "h1:mfngRv0Yoh0VApsXKEN82CjD99kl7mtparN3bs3JnqI="
)

// auditVulnerabilities returns an error if DriftDB's code reaches a known vulnerability in
// one of its modules. It prints those in the standard library, but they are not an error:
// they depend on the toolchain, which is chosen by the builder of a program.
//
// Without a network, and without the database in the module cache, it prints that nothing
// was checked.
func auditVulnerabilities(ctx context.Context, version string) error {
	folder, err := fetch(ctx, version)
	if errors.Is(err, errAway) {
		fmt.Println("vulnerabilities: NOT LOOKED FOR:", err)
		return nil
	}
	if err != nil {
		return err
	}
	layout, err := os.MkdirTemp("", "vulnerabilities-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(layout)
	if err := lay(filepath.Join(folder, "data", "osv"), layout); err != nil {
		return err
	}
	return search(ctx, layout, version)
}

var errAway = errors.New("the database cannot be fetched")

// fetch returns the folder of the database in the module cache.
func fetch(ctx context.Context, version string) (string, error) {
	cmd := exec.CommandContext(ctx, "go", "mod", "download", "-json", database+"@"+version)
	cmd.Dir = os.TempDir() // not part of this module's go.mod
	out, err := cmd.Output()
	var m struct{ Version, Dir, Sum, Error string }
	if jerr := json.Unmarshal(out, &m); jerr != nil && err == nil {
		err = jerr
	}
	switch {
	case m.Error != "":
		return "", fmt.Errorf("%w: %s", errAway, m.Error)
	case err != nil:
		return "", fmt.Errorf("%w: %w", errAway, err)
	case version == pinned && m.Sum != pinnedHash:
		return "", fmt.Errorf("%s@%s has the hash %s, and should have %s", database, version, m.Sum, pinnedHash)
	}
	return m.Dir, nil
}

// entry holds the fields of a vulnerability that an index needs.
type entry struct {
	ID       string `json:"id"`
	Modified string `json:"modified"`
	Affected []struct {
		Package struct {
			Name string `json:"name"`
		} `json:"package"`
	} `json:"affected"`
}

// lay lays out entries, one file each, with an index by module, as govulncheck expects a
// database to be.
func lay(entries, layout string) error {
	type vulnerability struct {
		ID       string `json:"id"`
		Modified string `json:"modified"`
	}
	type module struct {
		Path  string          `json:"path"`
		Vulns []vulnerability `json:"vulns"`
	}
	if err := errors.Join(os.Mkdir(filepath.Join(layout, "ID"), 0o700), os.Mkdir(filepath.Join(layout, "index"), 0o700)); err != nil {
		return err
	}
	names, err := filepath.Glob(filepath.Join(entries, "GO-*.json"))
	if err == nil && len(names) == 0 {
		err = fmt.Errorf("%s has no entries", entries)
	}
	modules, latest := map[string]*module{}, ""
	for _, name := range names {
		data, rerr := os.ReadFile(name)
		var e entry
		if err := errors.Join(rerr, json.Unmarshal(data, &e), os.WriteFile(filepath.Join(layout, "ID", filepath.Base(name)), data, 0o600)); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		latest = max(latest, e.Modified)
		for _, a := range e.Affected {
			m := modules[a.Package.Name]
			if m == nil {
				m = &module{Path: a.Package.Name}
				modules[m.Path] = m
			}
			if v := (vulnerability{e.ID, e.Modified}); !slices.Contains(m.Vulns, v) {
				m.Vulns = append(m.Vulns, v)
			}
		}
	}
	var index []*module
	for _, path := range sorted(modules) {
		index = append(index, modules[path])
	}
	return errors.Join(err, store(filepath.Join(layout, "index", "modules.json"), index),
		store(filepath.Join(layout, "index", "db.json"), map[string]string{"modified": latest}))
}

func store(path string, value any) error {
	data, err := json.Marshal(value)
	return errors.Join(err, os.WriteFile(path, data, 0o600))
}

// frame is a step on the call path to a vulnerability.
type frame struct{ Module, Version, Package, Function string }

// search runs govulncheck on each of our modules, and reports its findings.
func search(ctx context.Context, layout, version string) error {
	theirs, standard := map[string]bool{}, map[string]bool{}
	for _, module := range sorted(shipped) {
		if err := reached(ctx, layout, module, theirs, standard); err != nil {
			return err
		}
	}
	for _, found := range sorted(standard) {
		fmt.Println("vulnerabilities: of this Go toolchain, which is no error:", found)
	}
	fmt.Printf("vulnerabilities: %d in modules, by the database %s\n", len(theirs), version)
	var errs []error
	for _, found := range sorted(theirs) {
		errs = append(errs, errors.New(found))
	}
	return errors.Join(errs...)
}

// reached adds the vulnerabilities that the code of one of our modules reaches to
// theirs or, if they are in the standard library, to standard.
func reached(ctx context.Context, layout, module string, theirs, standard map[string]bool) error {
	where := url.URL{Scheme: "file", Path: filepath.ToSlash(layout)}
	cmd := scan.Command(ctx, append([]string{"-C", filepath.Join(root, module), "-db", where.String(), "-format", "json"}, shipped[module]...)...)
	var out, trouble bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &trouble
	if err := errors.Join(cmd.Start(), cmd.Wait()); err != nil {
		return fmt.Errorf("govulncheck of %s: %w: %s", module, err, trouble.Bytes())
	}
	for d := json.NewDecoder(&out); ; {
		var message struct {
			Finding *struct {
				OSV          string
				FixedVersion string `json:"fixed_version"`
				Trace        []frame
			}
		}
		if err := d.Decode(&message); err == io.EOF {
			return nil
		} else if err != nil {
			return fmt.Errorf("govulncheck's answer: %w", err)
		}
		f := message.Finding
		if f == nil || len(f.Trace) == 0 || f.Trace[0].Function == "" { // not reached
			continue
		}
		found := fmt.Sprintf("%s in %s %s; fixed in %s", f.OSV, f.Trace[0].Module, f.Trace[0].Version, f.FixedVersion)
		if f.Trace[0].Module == "stdlib" {
			standard[found] = true
		} else {
			theirs[found] = true
		}
	}
}
