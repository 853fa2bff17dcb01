package lint_test

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/driftdb/driftdb-go/internal/systemtest"
)

// TestHouse: the root is what users see, and not the engine. Its lines, and the fields of
// DB, have a bound, which is lowered when something has moved out.
func TestHouse(t *testing.T) {
	const maxLines, maxFields = 3700, 2
	files, err := filepath.Glob("*.go")
	systemtest.Check(t, err)
	lines, fields := 0, 0
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		text, err := os.ReadFile(name)
		systemtest.Check(t, err)
		lines += bytes.Count(text, []byte("\n"))
		file, err := parser.ParseFile(token.NewFileSet(), name, text, 0)
		systemtest.Check(t, err)
		ast.Inspect(file, func(n ast.Node) bool {
			if spec, ok := n.(*ast.TypeSpec); ok && spec.Name.Name == "DB" {
				for _, f := range spec.Type.(*ast.StructType).Fields.List {
					fields += max(1, len(f.Names))
				}
			}
			return true
		})
	}
	if lines > maxLines {
		t.Errorf("the root has %d lines without its tests, of %d: what knows one thing belongs in a package below internal", lines, maxLines)
	}
	if fields == 0 || fields > maxFields {
		t.Errorf("DB has %d fields, of %d", fields, maxFields)
	}
}
