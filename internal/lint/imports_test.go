package lint_test

import (
	"bytes"
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"os"
	osexec "os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/driftdb/driftdb-go/internal/systemtest"
	lib "modernc.org/sqlite/lib"
)

const modulePath = "github.com/driftdb/driftdb-go"

// mayImport is the house: each package and the packages of this module that it
// imports, tests aside. Data flows one way, so an edge that is not here is
// either a mistake or a change of the design; docs/ARCHITECTURE.md has the same
// table with what each package knows.
//
// Only systemtest imports dbtest and s3test, and nobody objstoretest, mounttest,
// vfstest and systemtest: they are for tests.
var mayImport = map[string][]string{
	".": {
		"internal/backup", "internal/batch", "internal/change", "internal/changelog", "internal/check", "internal/consume", "internal/dbfile", "internal/engine", "internal/event", "internal/follow", "internal/foreign", "internal/heartbeat", "internal/history", "internal/remote", "internal/repair", "internal/resolve", "internal/restore",
		"internal/retry", "internal/rows", "internal/schema", "internal/seal", "internal/sqlite", "internal/statement", "internal/syncer", "internal/undo",
		"internal/writer",
		"objstore", "objstore/s3store",
	},
	"cmd/driftdb":          {".", "inspect", "internal/doctor", "internal/jsbucket", "internal/keytext", "internal/retry", "internal/statement", "internal/terminal", "internal/wrap", "objstore", "objstore/s3store"},
	"examples/adopt":       {".", "objstore"},
	"examples/cron":        {".", "objstore"},
	"examples/functions":   {".", "objstore"},
	"examples/live":        {".", "objstore"},
	"examples/notes":       {".", "objstore"},
	"examples/rawsql":      {".", "objstore"},
	"examples/tenants":     {".", "objstore"},
	"examples/web":         {".", "objstore"},
	"inspect":              {".", "internal/keytext", "objstore"},
	"internal/apply":       {"internal/change", "internal/sqlite"},
	"internal/backup":      {"internal/change", "internal/dbfile", "internal/ddl", "internal/diff", "internal/event", "internal/foreign", "internal/history", "internal/remote", "internal/repair", "internal/resolve", "internal/restore", "internal/retry", "internal/seal", "internal/sqlite", "internal/statement", "internal/wrap", "objstore", "objstore/s3store"},
	"internal/capture":     {"internal/apply", "internal/change", "internal/sqlite"},
	"internal/change":      {},
	"internal/check":       {"internal/digest", "internal/digest/scan", "internal/sqlite"},
	"internal/changelog":   {"internal/change", "internal/digest", "internal/batch", "internal/sqlite"},
	"internal/cmem":        {},
	"internal/dbfile":      {"internal/sqlite"},
	"internal/dbtest":      {"internal/sqlite"},
	"internal/ddl":         {},
	"internal/doctor":      {"internal/changelog", "internal/check", "internal/dbfile", "internal/foreign", "internal/remote", "internal/seal", "internal/sqlite", "internal/syncer", "objstore", "objstore/s3store"},
	"internal/diff":        {"internal/apply", "internal/change", "internal/ddl", "internal/history", "internal/sqlite"},
	"internal/digest":      {"internal/change", "internal/ddl"},
	"internal/digest/scan": {"internal/change", "internal/digest", "internal/sqlite"},
	"internal/follow": {
		"internal/backup", "internal/batch", "internal/changelog", "internal/dbfile", "internal/engine", "internal/event", "internal/foreign",
		"internal/remote", "internal/restore", "internal/seal", "internal/sqlite", "internal/wrap", "internal/writer", "objstore",
	},
	"internal/foreign": {"internal/capture", "internal/change", "internal/changelog", "internal/dbfile", "internal/digest", "internal/digest/scan", "internal/event", "internal/sqlite"},
	"internal/engine": {
		"internal/backup", "internal/batch", "internal/capture", "internal/changelog", "internal/consume", "internal/dbfile", "internal/digest", "internal/event",
		"internal/foreign", "internal/heartbeat", "internal/history", "internal/pagecache", "internal/part", "internal/readsql", "internal/remote", "internal/restore",
		"internal/retry", "internal/schema", "internal/seal", "internal/sqlite", "internal/syncer", "internal/undo", "internal/wrap", "internal/writer",
	},
	"internal/event":                 {"internal/inside"},
	"internal/consume":               {"internal/change", "internal/history", "internal/sqlite"},
	"internal/history":               {"internal/change", "internal/changelog", "internal/ddl", "internal/digest", "internal/event", "internal/remote", "internal/batch", "internal/sqlite"},
	"internal/heartbeat":             {"internal/event"},
	"internal/inside":                {},
	"internal/jsbucket":              {"internal/check", "internal/dbfile", "internal/sqlite", "objstore"},
	"internal/keytext":               {},
	"internal/mounttest":             {},
	"internal/pagecache":             {"internal/cmem"},
	"internal/part":                  {"internal/sqlite"},
	"internal/readsql":               {"internal/sqlite"},
	"internal/remote":                {"internal/change", "internal/digest", "internal/event", "internal/retry", "internal/seal", "internal/batch", "objstore"},
	"internal/repair":                {"internal/change", "internal/changelog", "internal/check", "internal/dbfile", "internal/digest", "internal/remote", "internal/restore", "internal/batch", "internal/sqlite"},
	"internal/resolve":               {"internal/apply", "internal/capture", "internal/change", "internal/changelog", "internal/dbfile", "internal/digest", "internal/remote", "internal/restore", "internal/batch", "internal/sqlite", "internal/syncer"},
	"internal/restore":               {"internal/apply", "internal/change", "internal/changelog", "internal/check", "internal/dbfile", "internal/digest", "internal/event", "internal/remote", "internal/batch", "internal/sqlite"},
	"internal/retry":                 {"objstore"},
	"internal/s3test":                {},
	"internal/rows":                  {"internal/capture", "internal/engine", "internal/schema", "internal/sqlite", "internal/writer"},
	"internal/schema":                {},
	"internal/seal":                  {},
	"internal/batch":                 {"internal/change", "internal/digest"},
	"internal/sqlite":                {"internal/cmem", "internal/pagecache", "internal/vfs"},
	"internal/statement":             {"internal/change"},
	"internal/syncer":                {"internal/change", "internal/changelog", "internal/check", "internal/dbfile", "internal/digest", "internal/digest/scan", "internal/event", "internal/foreign", "internal/remote", "internal/restore", "internal/retry", "internal/batch", "internal/sqlite", "objstore"},
	"internal/systemtest":            {".", "internal/dbtest", "internal/s3test", "internal/systemtest/subprocess", "objstore"},
	"internal/systemtest/subprocess": {},
	"internal/telemetry":             {"."},
	"internal/terminal":              {},
	"internal/undo":                  {"internal/apply", "internal/capture", "internal/change", "internal/changelog", "internal/consume", "internal/history", "internal/remote", "internal/sqlite", "internal/statement"},
	"internal/vfs":                   {"internal/cmem", "internal/vfs/layer"},
	"internal/vfs/layer":             {"internal/cmem"},
	"internal/vfs/vfstest":           {"internal/cmem", "internal/vfs/layer"},
	"internal/wrap":                  {"internal/retry", "objstore"},
	"internal/writer":                {"internal/capture", "internal/event", "internal/inside", "internal/sqlite"},
	"objstore":                       {},
	"objstore/objstoretest":          {"objstore"},
	"objstore/s3store":               {"objstore"},
}

// TestImportRules: an import that the table does not have fails by its name.
func TestImportRules(t *testing.T) {
	edges := map[string]map[string]bool{}
	for _, f := range sources(t) {
		pkg := path.Dir(f.name)
		if edges[pkg] == nil {
			edges[pkg] = map[string]bool{}
		}
		for _, imported := range f.imports {
			if ours, ok := strings.CutPrefix(imported+"/", modulePath+"/"); ok {
				edges[pkg][path.Clean(ours)] = true
			}
		}
	}
	for _, pkg := range slices.Sorted(maps.Keys(edges)) {
		allowed, known := mayImport[pkg]
		if !known {
			t.Errorf("package %s is not in the table; add it with what it may import", pkg)
			continue
		}
		for _, imported := range slices.Sorted(maps.Keys(edges[pkg])) {
			if !slices.Contains(allowed, imported) {
				t.Errorf("package %s must not import %s", pkg, imported)
			}
		}
	}
	for pkg := range mayImport {
		if edges[pkg] == nil {
			t.Errorf("package %s is in the table, but not in the tree", pkg)
		}
	}
}

// TestImportTable: docs/ARCHITECTURE.md has the same table.
func TestImportTable(t *testing.T) {
	row := regexp.MustCompile("(?m)^\\| `((?:internal|objstore)[^`]*)` \\|.*\\|([^|]*)\\|$")
	seen := map[string]bool{}
	for _, m := range row.FindAllStringSubmatch(systemtest.ReadDoc(t, "docs/ARCHITECTURE.md"), -1) {
		var imports []string
		for name := range strings.SplitSeq(strings.TrimSpace(m[2]), ", ") {
			switch {
			case name == "":
				continue
			case name == "driftdb":
				name = "."
			case !strings.HasPrefix(name, "objstore"):
				name = "internal/" + name
			}
			imports = append(imports, name)
		}
		seen[m[1]] = true
		if want := slices.Sorted(slices.Values(mayImport[m[1]])); !slices.Equal(slices.Sorted(slices.Values(imports)), want) {
			t.Errorf("%s imports %q in docs/ARCHITECTURE.md, and may import %q", m[1], imports, want)
		}
	}
	for pkg := range mayImport {
		if !seen[pkg] && (strings.HasPrefix(pkg, "internal/") || strings.HasPrefix(pkg, "objstore")) {
			t.Errorf("%s is not in the table of docs/ARCHITECTURE.md", pkg)
		}
	}
}

// mayUse is which packages import which modules of others, tests aside. A name here
// stands for its subfolders, too, unless they have a row of their own.
var mayUse = map[string][]string{
	"github.com/aws/aws-sdk-go-v2":      {"internal/s3test", "internal/systemtest", "objstore/s3store"},
	"github.com/aws/smithy-go":          {"objstore/s3store"},
	"github.com/fsnotify/fsnotify":      {"objstore"},
	"github.com/gofrs/flock":            {"internal/s3test"},
	"github.com/google/uuid":            {"internal/changelog", "internal/remote", "internal/rows"},
	"github.com/klauspost/compress":     {"internal/seal"},
	"github.com/rivo/uniseg":            {"internal/terminal"},
	"github.com/schollz/progressbar/v3": {"internal/terminal"},
	"github.com/spf13/cobra":            {"cmd/driftdb"},
	"github.com/spf13/pflag":            {"cmd/driftdb"},
	"github.com/tink-crypto/tink-go/v2": {"internal/seal"},
	"golang.org/x/sync":                 {"objstore/objstoretest"},
	"golang.org/x/sys":                  {"internal/dbfile", "internal/sqlite", "objstore"},
	"golang.org/x/term":                 {"internal/terminal"},
	"modernc.org/libc":                  {"internal/capture", "internal/pagecache", "internal/sqlite", "internal/vfs", "internal/vfs/layer", "internal/vfs/vfstest"},
	"modernc.org/sqlite":                {"examples/cron", "internal/sqlite"}, // the driver itself
	"modernc.org/sqlite/vtab":           {".", "internal/capture", "internal/sqlite"},

	// SQLite's functions and codes.
	"modernc.org/sqlite/lib": {
		".", "internal/apply", "internal/capture", "internal/check", "internal/digest/scan", "internal/engine", "internal/pagecache",
		"internal/part", "internal/repair", "internal/resolve", "internal/rows", "internal/sqlite", "internal/vfs", "internal/vfs/layer", "internal/vfs/vfstest",
	},
}

// TestThirdParties: what a module of others is for, one package of ours knows, or few.
func TestThirdParties(t *testing.T) {
	used := map[string]map[string]bool{}
	for _, f := range sources(t) {
		pkg := path.Dir(f.name)
		for _, imported := range f.imports {
			host, _, _ := strings.Cut(imported, "/")
			if !strings.Contains(host, ".") || strings.HasPrefix(imported+"/", modulePath+"/") {
				continue
			}
			module := imported
			for mayUse[module] == nil && module != "." {
				module = path.Dir(module)
			}
			switch {
			case module == ".":
				t.Errorf("package %s imports %s, which is not in the table; add it with who may", pkg, imported)
				continue
			case !slices.Contains(mayUse[module], pkg):
				t.Errorf("package %s must not import %s", pkg, imported)
			}
			if used[module] == nil {
				used[module] = map[string]bool{}
			}
			used[module][pkg] = true
		}
	}
	for module, packages := range mayUse {
		for _, pkg := range packages {
			if !used[module][pkg] {
				t.Errorf("package %s may import %s, and does not; take it out of the table", pkg, module)
			}
		}
	}
}

// TestUnsafe: one file views C memory, and needs unsafe for that; and one looks behind
// the driver's public interface, with reflect.
func TestUnsafe(t *testing.T) {
	const views, looks = "internal/cmem/cmem.go", "internal/sqlite/handle.go"
	for _, f := range sources(t) {
		driver := slices.ContainsFunc(f.imports, func(s string) bool { return strings.HasPrefix(s, "modernc.org/") })
		switch {
		case slices.Contains(f.imports, "unsafe") && f.name != views:
			t.Errorf("%s imports unsafe; only %s may", f.name, views)
		case driver && slices.Contains(f.imports, "reflect") && f.name != looks:
			t.Errorf("%s imports reflect beside the driver; only %s may", f.name, looks)
		}
	}
}

// viewPrivate are the files that may view SQLite's own structs, which its headers do not
// promise: internal/sqlite/probe.go tries out what they read there. public are the structs
// that the headers do promise.
var (
	viewPrivate = []string{
		"internal/sqlite/file_unix.go", "internal/sqlite/file_windows.go", // dbfile compares the handle with its path
		"internal/sqlite/checkpointed_unix.go", // whose locks SQLite holds; with a handle of our own, closing it would drop them
		"internal/sqlite/private.go", "internal/sqlite/walindex.go",
	}
	public = []string{"Tsqlite3_file", "Tsqlite3_io_methods", "Tsqlite3_pcache_methods2", "Tsqlite3_vfs"}
)

// TestPrivateStructs: to view a struct at an address takes At, with its type. What is
// viewed so stays in the files that may: no other one selects its fields.
func TestPrivateStructs(t *testing.T) {
	seen := map[string]bool{}
	fields := map[string]bool{} // that viewPrivate select
	elsewhere := map[string][]string{}
	for _, f := range sources(t) {
		if path.Dir(f.name) != "internal/sqlite" && !slices.Contains(f.imports, "modernc.org/sqlite/lib") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), f.name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if sel, ok := n.(*ast.SelectorExpr); ok && field.MatchString(sel.Sel.Name) {
				if slices.Contains(viewPrivate, f.name) {
					fields[sel.Sel.Name] = true
				} else if path.Dir(f.name) != "internal/vfs/layer" { // it views public structs, whose fields may have the same names
					elsewhere[sel.Sel.Name] = append(elsewhere[sel.Sel.Name], f.name)
				}
			}
			view, ok := n.(*ast.IndexExpr)
			if !ok || !named(view.X, "At") {
				return true
			}
			if of, ok := view.Index.(*ast.SelectorExpr); ok && named(of.X, "lib") && !slices.Contains(public, of.Sel.Name) {
				seen[f.name] = true
				if !slices.Contains(viewPrivate, f.name) {
					t.Errorf("%s views SQLite's %s; only %s may", f.name, of.Sel.Name, strings.Join(viewPrivate, ", "))
				}
			}
			return true
		})
	}
	for name := range fields {
		for _, file := range elsewhere[name] {
			t.Errorf("%s selects %s, a field of a struct of SQLite's own", file, name)
		}
	}
	for _, name := range viewPrivate {
		if !seen[name] {
			t.Errorf("%s views no struct of SQLite's own", name)
		}
	}
}

// field is how the transpiled SQLite calls the fields of its structs.
var field = regexp.MustCompile(`^F[a-z]`)

// named says whether an expression is a name, or a package's name of it.
func named(e ast.Expr, name string) bool {
	switch e := e.(type) {
	case *ast.Ident:
		return e.Name == name
	case *ast.SelectorExpr:
		return e.Sel.Name == name
	}
	return false
}

// TestFileSize: a file has one subject, and fits a head.
func TestFileSize(t *testing.T) {
	const limit = 600
	for _, f := range sources(t) {
		if f.lines > limit {
			t.Errorf("%s has %d lines; more than %d are two subjects", f.name, f.lines, limit)
		}
	}
}

// TestDriverVersions: the driver is transpiled for one version of modernc's
// libc and misbehaves with another, and older SQLites can corrupt a WAL
// database.
func TestDriverVersions(t *testing.T) {
	var driver struct{ GoMod string }
	goJSON(t, &driver, "list", "-m", "-json", "modernc.org/sqlite")
	want, have := required(t, driver.GoMod, "modernc.org/libc"), required(t, "go.mod", "modernc.org/libc")
	if want == "" || have != want {
		t.Errorf("go.mod requires modernc.org/libc %s, but the driver is made for %s", have, want)
	}
	if lib.SQLITE_VERSION_NUMBER < 3051003 {
		t.Errorf("SQLite is %s; 3.51.3 is the first without the WAL-reset bug", lib.SQLITE_VERSION)
	}
}

// required is the version of a module that a go.mod asks for.
func required(t *testing.T, goMod, module string) string {
	t.Helper()
	var mod struct {
		Require []struct{ Path, Version string }
	}
	goJSON(t, &mod, "mod", "edit", "-json", goMod)
	for _, r := range mod.Require {
		if r.Path == module {
			return r.Version
		}
	}
	return ""
}

func goJSON(t *testing.T, to any, args ...string) {
	t.Helper()
	cmd := osexec.CommandContext(t.Context(), "go", args...)
	out, err := cmd.Output()
	if err == nil {
		err = json.Unmarshal(out, to)
	}
	if err != nil {
		t.Fatalf("%s: %v", cmd, err)
	}
}

// source is a Go file that is no test.
type source struct {
	name    string // from the module's root, with slashes
	imports []string
	lines   int
}

// sources reads all of them, whatever system they are for, but not those of
// nested modules.
func sources(t *testing.T) []source {
	t.Helper()
	var out []source
	err := filepath.WalkDir(".", func(name string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if e.IsDir() {
			return enter(name)
		}
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return nil
		}
		text, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, text, parser.ImportsOnly)
		if err != nil {
			return err
		}
		out = append(out, source{filepath.ToSlash(name), imports(t, file), bytes.Count(text, []byte("\n"))})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// enter says whether a folder belongs to this module.
func enter(name string) error {
	base := filepath.Base(name)
	if name != "." && (base == "testdata" || strings.HasPrefix(base, ".") || strings.HasPrefix(base, "_")) {
		return fs.SkipDir
	}
	if _, err := os.Stat(filepath.Join(name, "go.mod")); err == nil && name != "." {
		return fs.SkipDir
	}
	return nil
}

func imports(t *testing.T, file *ast.File) []string {
	t.Helper()
	var out []string
	for _, spec := range file.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, imported)
	}
	return out
}
