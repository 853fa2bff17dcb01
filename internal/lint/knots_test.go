package lint_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// tied are files of the root that need each other, and why that cannot be avoided.
var tied = map[string]string{}

// TestRootFiles: no two files of the root need each other's unexported names, directly or
// by way of others: each can be read when those that it needs have been.
func TestRootFiles(t *testing.T) {
	needs := rootNeeds(t)
	reached := map[string]map[string]bool{}
	for file := range needs {
		reached[file] = reach(needs, file)
	}
	found := map[string]bool{}
	for _, a := range slices.Sorted(maps.Keys(needs)) {
		for _, b := range slices.Sorted(maps.Keys(needs[a])) {
			if !reached[b][a] {
				continue
			}
			pair := min(a, b) + " " + max(a, b)
			found[pair] = true
			if tied[pair] == "" {
				t.Errorf("%s needs %s of %s, which needs %s in turn: move what both need, or say in the table why not",
					a, strings.Join(needs[a][b], ", "), b, a)
			}
		}
	}
	for pair := range tied {
		if !found[pair] {
			t.Errorf("%s are in the table, and do not need each other", pair)
		}
	}
	if len(needs) < 10 || len(reached["db.go"]) == 0 {
		t.Errorf("only %d files were found to need others", len(needs))
	}
}

// reach are the files that file needs, and those that they need.
func reach(needs map[string]map[string][]string, file string) map[string]bool {
	all, todo := map[string]bool{}, []string{file}
	for len(todo) > 0 {
		next := todo[0]
		todo = todo[1:]
		for to := range needs[next] {
			if !all[to] {
				all[to], todo = true, append(todo, to)
			}
		}
	}
	return all
}

// rootNeeds are, by file of the root, the files whose unexported functions, methods, types,
// constants and variables it uses, with their names. A field belongs to its type.
func rootNeeds(t *testing.T) map[string]map[string][]string {
	t.Helper()
	names, err := filepath.Glob(filepath.Join(rootFolder(t), "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	set := token.NewFileSet()
	var files []*ast.File
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(set, name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, file)
	}
	uses := map[*ast.Ident]types.Object{}
	// What other packages have is not known here. That makes errors, and leaves no name of
	// the package's own unknown.
	conf := types.Config{Importer: strangers{}, Error: func(error) {}}
	_, _ = conf.Check("driftdb", set, files, &types.Info{Uses: uses})
	needs := map[string]map[string][]string{}
	for id, used := range uses {
		if v, ok := used.(*types.Var); ok && v.IsField() || used.Exported() || used.Pkg() == nil || used.Pkg().Name() != "driftdb" {
			continue
		}
		if fn, ok := used.(*types.Func); !ok || fn.Signature().Recv() == nil {
			if used.Parent() != used.Pkg().Scope() {
				continue // of a function
			}
		}
		from, to := filepath.Base(set.Position(id.Pos()).Filename), filepath.Base(set.Position(used.Pos()).Filename)
		if from == to {
			continue
		}
		if needs[from] == nil {
			needs[from] = map[string][]string{}
		}
		if !slices.Contains(needs[from][to], used.Name()) {
			needs[from][to] = append(needs[from][to], used.Name())
			slices.Sort(needs[from][to])
		}
	}
	return needs
}

// strangers imports every package as one of which nothing is known.
type strangers struct{}

func (strangers) Import(name string) (*types.Package, error) {
	pkg := types.NewPackage(name, path.Base(name))
	pkg.MarkComplete()
	return pkg, nil
}

// rootFolder is the module's, seen from wherever the tests run in it.
func rootFolder(t *testing.T) string {
	t.Helper()
	for folder := "."; ; folder = filepath.Join(folder, "..") {
		if _, err := os.Stat(filepath.Join(folder, "go.mod")); err == nil {
			return folder
		}
		if abs, err := filepath.Abs(folder); err != nil || abs == filepath.Dir(abs) {
			t.Fatal("there is no go.mod above")
		}
	}
}
