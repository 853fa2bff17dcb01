package lint_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"regexp"
	"slices"
	"strconv"
	"testing"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/change"
	"github.com/driftdb/driftdb-go/internal/event"
	"github.com/driftdb/driftdb-go/internal/restore"
	"github.com/driftdb/driftdb-go/internal/systemtest"
)

// TestEnumerations compares the public constants with the words of the packages below,
// which are converted as they are.
func TestEnumerations(t *testing.T) {
	t.Parallel()
	operations := map[change.Op]driftdb.Operation{
		change.Insert: driftdb.OperationInsert, change.Update: driftdb.OperationUpdate, change.Delete: driftdb.OperationDelete,
		change.Schema: driftdb.OperationSchema, change.Barrier: driftdb.OperationBarrier,
	}
	for op := change.Insert; op.String() != change.Op(0).String(); op++ {
		if got := operations[op]; string(got) != op.String() {
			t.Errorf("operation %s has the constant %q", op, got)
		}
	}
	inside := []restore.Stage{restore.Fetching, restore.Replaying, restore.Checking}
	stages := []driftdb.Stage{driftdb.StageSnapshot, driftdb.StageReplay, driftdb.StageCheck}
	if !slices.EqualFunc(inside, stages, func(a restore.Stage, b driftdb.Stage) bool { return string(a) == string(b) }) {
		t.Errorf("stages %q have the constants %q", inside, stages)
	}
}

// TestEventKinds: the packages below make no event without one of the kinds in
// internal/event, which the compiler sees to; each of those has a public constant of the
// same name and value, is used, and has a scope that is public, too.
func TestEventKinds(t *testing.T) {
	t.Parallel()
	kinds, public := constants(t, "internal/event/kinds.go", "Kind"), constants(t, "events.go", "EventKind")
	scopes := slices.Collect(maps.Values(constants(t, "events.go", "EventScope")))
	if len(kinds) == 0 || len(kinds) != len(public) {
		t.Errorf("%d kinds, %d public ones", len(kinds), len(public))
	}
	uses := ""
	for _, f := range sources(t) {
		if f.name != "internal/event/kinds.go" {
			uses += string(systemtest.Must(os.ReadFile(f.name)))
		}
	}
	values := map[string]bool{}
	for name, kind := range kinds {
		if got := public["Event"+name]; got != kind {
			t.Errorf("event.%s is %q, and Event%[1]s %q", name, kind, got)
		}
		if scope := event.Kind(kind).Scope(); !slices.Contains(scopes, scope) {
			t.Errorf("%s: there is no scope %q", name, scope)
		}
		if !regexp.MustCompile(`\bevent\.` + name + `\b`).MatchString(uses) {
			t.Errorf("nothing makes an event of the kind %s", name)
		}
		values[kind] = true
	}
	if len(values) != len(kinds) {
		t.Error("two kinds are the same")
	}
}

// constants are those of a type in a file: the value of each name.
func constants(t *testing.T, file, ofType string) map[string]string {
	t.Helper()
	parsed := systemtest.Must(parser.ParseFile(token.NewFileSet(), file, nil, 0))
	out := map[string]string{}
	for n := range ast.Preorder(parsed) {
		v, ok := n.(*ast.ValueSpec)
		if !ok {
			continue
		}
		if typ, ok := v.Type.(*ast.Ident); ok && typ.Name == ofType {
			out[v.Names[0].Name] = systemtest.Must(strconv.Unquote(v.Values[0].(*ast.BasicLit).Value))
		}
	}
	return out
}
