package lint_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"

	"github.com/driftdb/driftdb-go/internal/systemtest"
)

func TestNoWallClock(t *testing.T) {
	err := filepath.WalkDir(".", func(name string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case e.IsDir():
			return enter(name)
		case !strings.HasSuffix(name, "_test.go") && !strings.HasPrefix(filepath.ToSlash(name), "internal/systemtest/"):
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			return err
		}
		for _, decl := range file.Decls {
			for _, what := range wallClock(decl) {
				t.Logf("%s %s %s", filepath.ToSlash(name), declName(decl), what)
			}
		}
		return nil
	})
	systemtest.Check(t, err)
}

// wallClock is what a declaration calls of time.Sleep and time.Since outside a bubble of
// synctest's.
func wallClock(decl ast.Decl) (found []string) {
	ast.Inspect(decl, func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		s, ok := call.Fun.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		pkg, _ := s.X.(*ast.Ident)
		switch {
		case pkg == nil:
		case pkg.Name == "synctest" && s.Sel.Name == "Test":
			return false
		case pkg.Name == "time" && (s.Sel.Name == "Sleep" || s.Sel.Name == "Since"):
			found = append(found, s.Sel.Name)
		}
		return true
	})
	return found
}
