package syncer

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strings"
	"testing"
)

// parts are the fields by which a part, or the Syncer, has another part.
var parts = map[string]string{"epoch": "epoch", "compact": "compactor", "uploads": "uploader", "snapshots": "snapshotter", "branch": "brancher"}

// TestParts: a part asks another one by its methods, and does not reach into its fields;
// and the shared books are set in one place.
func TestParts(t *testing.T) {
	files, fields := parse(t)
	for name, typ := range parts {
		if len(fields[typ]) == 0 {
			t.Errorf("there is no type %s for the field %s", typ, name)
		}
	}
	for _, f := range files {
		for _, d := range f.Decls {
			fn, ok := d.(*ast.FuncDecl)
			if !ok {
				continue
			}
			ast.Inspect(fn, func(n ast.Node) bool {
				switch n := n.(type) {
				case *ast.SelectorExpr:
					if part, ok := n.X.(*ast.SelectorExpr); ok && fields[parts[part.Sel.Name]][n.Sel.Name] {
						t.Errorf("%s reaches into %s.%s", fn.Name.Name, parts[part.Sel.Name], n.Sel.Name)
					}
				case *ast.AssignStmt:
					for _, to := range n.Lhs {
						if setsBooks(to) && fn.Name.Name != "keep" && fn.Name.Name != "newState" {
							t.Errorf("%s sets the books; record does, which writes them down", fn.Name.Name)
						}
					}
				}
				return true
			})
		}
	}
}

// setsBooks says whether e is the books of a receiver, or a field of them.
func setsBooks(e ast.Expr) bool {
	s, ok := e.(*ast.SelectorExpr)
	if !ok {
		return false
	}
	_, direct := s.X.(*ast.Ident)
	return direct && s.Sel.Name == "books" || setsBooks(s.X)
}

// parse returns the package's files, and the fields of its structs.
func parse(t *testing.T) (files []*ast.File, fields map[string]map[string]bool) {
	t.Helper()
	names, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	fields = map[string]map[string]bool{}
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, f)
		ast.Inspect(f, func(n ast.Node) bool {
			spec, ok := n.(*ast.TypeSpec)
			if !ok {
				return true
			}
			if s, ok := spec.Type.(*ast.StructType); ok {
				own := map[string]bool{}
				for _, field := range s.Fields.List {
					for _, name := range field.Names {
						own[name.Name] = true
					}
				}
				fields[spec.Name.Name] = own
			}
			return false
		})
	}
	return files, fields
}
