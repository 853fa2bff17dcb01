package capture_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strings"
	"testing"
)

// TestParts: what the recorder is made of keeps its fields to itself. Only its own methods
// select them, whether in the package or not.
func TestParts(t *testing.T) {
	p := parsePackage(t)
	parts := map[string]bool{}
	for _, typ := range p.fields["recorder"] {
		if p.methods[typ] {
			parts[typ] = true
		}
	}
	if len(parts) < 10 {
		t.Fatalf("the recorder has the parts %v; were there not more?", parts)
	}
	selected := 0
	for _, fn := range p.functions {
		own, scope := p.scope(fn)
		ast.Inspect(fn.Body, func(n ast.Node) bool {
			if as, ok := n.(*ast.AssignStmt); ok && as.Tok == token.DEFINE && len(as.Lhs) == len(as.Rhs) {
				for i, to := range as.Lhs {
					scope[to.(*ast.Ident).Name] = p.typeOf(as.Rhs[i], scope)
				}
			}
			sel, ok := n.(*ast.SelectorExpr)
			if !ok {
				return true
			}
			typ := p.typeOf(sel.X, scope)
			if _, field := p.fields[typ][sel.Sel.Name]; !field || !parts[typ] {
				return true
			}
			selected++
			if typ != own {
				t.Errorf("%s: %s selects %s of %s; make it a method", p.files.Position(sel.Pos()), fn.Name.Name, sel.Sel.Name, typ)
			}
			return true
		})
	}
	if selected < 100 {
		t.Errorf("only %d selections of a part's fields were found: the test is blind", selected)
	}
}

// parsed is the package's own types, as far as their names say.
type parsed struct {
	files     *token.FileSet
	fields    map[string]map[string]string // by type and name, their types
	methods   map[string]bool              // the types that have any
	functions []*ast.FuncDecl
}

func parsePackage(t *testing.T) *parsed {
	t.Helper()
	p := &parsed{files: token.NewFileSet(), fields: map[string]map[string]string{}, methods: map[string]bool{}}
	names, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(p.files, name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.TypeSpec:
				if s, ok := n.Type.(*ast.StructType); ok {
					p.fields[n.Name.Name] = named(s.Fields)
				}
			case *ast.FuncDecl:
				p.functions = append(p.functions, n)
				for _, typ := range named(n.Recv) {
					p.methods[typ] = true
				}
			}
			return true
		})
	}
	return p
}

// named has the types of what a list names.
func named(list *ast.FieldList) map[string]string {
	out := map[string]string{}
	if list == nil {
		return out
	}
	for _, f := range list.List {
		for _, name := range f.Names {
			out[name.Name] = typeName(f.Type)
		}
	}
	return out
}

// typeName is the name of a type of this package, or of what a pointer to one points to.
func typeName(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.StarExpr:
		return typeName(e.X)
	case *ast.Ident:
		return e.Name
	}
	return ""
}

// scope is what a function's receiver and parameters are, and the receiver's type.
func (p *parsed) scope(fn *ast.FuncDecl) (own string, scope map[string]string) {
	scope = named(fn.Type.Params)
	for name, typ := range named(fn.Recv) {
		own, scope[name] = typ, typ
	}
	return own, scope
}

// typeOf is the type of a chain of names.
func (p *parsed) typeOf(e ast.Expr, scope map[string]string) string {
	switch e := e.(type) {
	case *ast.Ident:
		return scope[e.Name]
	case *ast.UnaryExpr:
		return p.typeOf(e.X, scope)
	case *ast.SelectorExpr:
		return p.fields[p.typeOf(e.X, scope)][e.Sel.Name]
	}
	return ""
}
