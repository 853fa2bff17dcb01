package corpustest

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var (
	fetched = flag.Bool("fetch", false, "TestFiles also takes the databases of Debian packages and Go modules, which it fetches")
	under   = flag.String("under", "", "TestFiles also takes the databases under this folder")
)

// What TestFiles fetches. A package or a module that cannot be had is skipped.
var (
	debianPackages = []string{
		"proj-data", "ibus-table-wubi", "ibus-table-cangjie3", "ibus-table-quick3", "ibus-table-extraphrase", "ibus-table-translit", "kstars-data",
	}
	goModules = []string{"github.com/pocketbase/pocketbase@v0.22.21", "github.com/pocketbase/pocketbase@v0.36.8"}
)

// file is a database that another program has made.
type file struct{ name, path string }

// files are the databases that this machine has: those of the driver's module, and,
// if asked for, those that can be fetched.
func files(t *testing.T) []file {
	t.Helper()
	var out []file
	for _, path := range fuzzdata(t) {
		if info, err := os.Stat(path); err == nil && (*whole || *fetched || info.Size() < 3<<20) {
			out = append(out, file{filepath.Base(path), path})
		}
	}
	if *fetched {
		for _, name := range debianPackages {
			out = append(out, fetch(t, name, fetchDebian)...)
		}
		for _, name := range goModules {
			out = append(out, fetch(t, name, fetchModule)...)
		}
	}
	if *under != "" {
		out = append(out, databases(t, *under, *under)...)
	}
	return out
}

// fetch fetches what is called name into a folder of its own, and returns the
// databases in it.
func fetch(t *testing.T, name string, how func(name, dir string) (string, error)) []file {
	t.Helper()
	dir, err := how(name, t.TempDir())
	if err != nil {
		t.Logf("%s cannot be had here: %v", name, err)
		return nil
	}
	found := databases(t, name, dir)
	t.Logf("%s has %d databases", name, len(found))
	return found
}

func fetchDebian(name, dir string) (string, error) {
	if err := run(dir, "apt-get", "download", name); err != nil {
		return "", err
	}
	packages, err := filepath.Glob(filepath.Join(dir, "*.deb"))
	if err != nil || len(packages) == 0 {
		return "", errors.Join(err, errors.New("apt-get has fetched nothing"))
	}
	return dir, run(dir, "dpkg-deb", "-x", packages[0], "content")
}

// fetchModule leaves the module in the cache of modules, as go does.
func fetchModule(name, dir string) (string, error) {
	cmd := exec.Command("go", "mod", "download", "-json", name)
	cmd.Dir = dir
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("go mod download: %w: %.300s", err, out)
	}
	var module struct{ Dir string }
	err = json.Unmarshal(out, &module)
	return module.Dir, err
}

func run(dir, name string, args ...string) error {
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %.300s", name, err, out)
	}
	return nil
}

// databases are the SQLite files below a folder.
func databases(t *testing.T, name, dir string) []file {
	t.Helper()
	const largest = 256 << 20
	magic := []byte("SQLite format 3\x00")
	var out []file
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		if info, err := e.Info(); err != nil || info.Size() < 512 || info.Size() > largest {
			return err
		}
		f, err := os.Open(path)
		if err != nil {
			return err
		}
		defer f.Close()
		head := make([]byte, len(magic))
		if _, err := io.ReadFull(f, head); err == nil && bytes.Equal(head, magic) {
			rel, _ := filepath.Rel(dir, path)
			out = append(out, file{strings.ReplaceAll(name+" "+rel, "/", ":"), path})
		}
		return nil
	})
	if err != nil {
		t.Error(err)
	}
	slices.SortFunc(out, func(a, b file) int { return strings.Compare(a.name, b.name) })
	return out
}
