package lint_test

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/systemtest"
)

// TestRunbook: the runbook has a line for each error that users can compare with, and for
// each kind of event; and what can be watched is explained.
func TestRunbook(t *testing.T) {
	t.Parallel()
	text := systemtest.ReadDoc(t, "docs/OPERATIONS.md")
	_, runbook, ok := strings.Cut(text, "\n## Runbook: errors\n")
	if !ok {
		t.Fatal("the page has no runbook")
	}
	rows := map[string]bool{} // what is named in the first column
	for line := range strings.Lines(runbook) {
		first, _, _ := strings.Cut(strings.TrimPrefix(line, "|"), "|")
		for _, m := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(first, -1) {
			rows[m[1]] = true
		}
	}
	for folder, prefix := range map[string]string{".": "", "objstore": "objstore."} {
		names := errorsOf(t, folder)
		if len(names) < 4 {
			t.Fatalf("errors of %s: %v", folder, names)
		}
		for _, name := range names {
			if !rows[prefix+name] {
				t.Errorf("the runbook has no line for %s%s", prefix, name)
			}
		}
	}
	kinds := constants(t, "events.go", "EventKind")
	for name, kind := range kinds {
		if !rows[kind] {
			t.Errorf("the runbook has no line for %s (%s)", kind, name)
		}
	}
	known := slices.Collect(maps.Values(kinds))
	for name := range rows {
		if regexp.MustCompile(`^(open|rekey|restore|capture|checkpoint|clock|follow|sqlite|sync|verify)\.`).MatchString(name) && !slices.Contains(known, name) {
			t.Errorf("the runbook has a line for %s, which is no event", name)
		}
	}
	for i := range reflect.TypeFor[driftdb.Metrics]().NumField() {
		if name := reflect.TypeFor[driftdb.Metrics]().Field(i).Name; !strings.Contains(text, "`"+name+"`") {
			t.Errorf("the page does not explain Metrics.%s", name)
		}
	}
}

// errorsOf are the names of the exported errors of a folder's package.
func errorsOf(t *testing.T, folder string) (names []string) {
	t.Helper()
	files := systemtest.Must(filepath.Glob(filepath.Join(folder, "*.go")))
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		parsed := systemtest.Must(parser.ParseFile(token.NewFileSet(), file, nil, 0))
		for _, decl := range parsed.Decls {
			if d, ok := decl.(*ast.GenDecl); ok && d.Tok == token.VAR {
				for _, spec := range d.Specs {
					for _, name := range spec.(*ast.ValueSpec).Names {
						if strings.HasPrefix(name.Name, "Err") {
							names = append(names, name.Name)
						}
					}
				}
			}
		}
	}
	return names
}

// policy is what is read of an IAM policy.
type policy struct {
	Version   string
	Statement []struct {
		Sid, Effect      string
		Action, Resource []string
	}
}

// TestPolicies: the policies of PROVIDERS.md are JSON, and allow what package s3store asks
// for: all of it to the writer, and what it takes to read to the others.
func TestPolicies(t *testing.T) {
	t.Parallel()
	rights := map[string]string{
		"PutObject": "s3:PutObject", "CreateMultipartUpload": "s3:PutObject", "UploadPart": "s3:PutObject", "CompleteMultipartUpload": "s3:PutObject",
		"AbortMultipartUpload": "s3:AbortMultipartUpload", "GetObject": "s3:GetObject", "HeadObject": "s3:GetObject",
		"DeleteObject": "s3:DeleteObject", "ListObjectsV2": "s3:ListBucket",
	}
	// What driftdb doctor can do without; the page names it.
	optional := map[string]string{
		"GetBucketVersioning": "s3:GetBucketVersioning", "GetBucketLifecycleConfiguration": "s3:GetLifecycleConfiguration", "ListObjectVersions": "s3:ListBucketVersions",
	}
	text := systemtest.ReadDoc(t, "docs/PROVIDERS.md")
	need := map[string]bool{}
	call := regexp.MustCompile(`client\.([A-Z]\w+)\(ctx|s3\.New(\w+)Paginator`)
	for _, file := range systemtest.Must(filepath.Glob("objstore/s3store/*.go")) {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		for _, m := range call.FindAllStringSubmatch(string(systemtest.Must(os.ReadFile(file))), -1) {
			if more := optional[m[1]+m[2]]; more != "" {
				if !strings.Contains(text, "`"+more+"`") {
					t.Errorf("PROVIDERS.md does not say what %s is for", more)
				}
				continue
			}
			if rights[m[1]+m[2]] == "" {
				t.Errorf("%s calls %s: which right does it need?", file, m[1]+m[2])
			}
			need[rights[m[1]+m[2]]] = true
		}
	}
	want := map[string][]string{
		"writer": {"s3:AbortMultipartUpload", "s3:DeleteObject", "s3:GetObject", "s3:ListBucket", "s3:PutObject"},
		"reader": {"s3:GetObject", "s3:ListBucket"},
	}
	if len(need) != len(want["writer"]) {
		t.Errorf("s3store needs %v, the writer's policy is to have %v", need, want["writer"])
	}
	found := 0
	for _, block := range blocks(text, "json") {
		if !json.Valid([]byte(block)) {
			t.Errorf("this is no JSON:\n%s", block)
			continue
		}
		var p policy
		if json.Unmarshal([]byte(block), &p) != nil || len(p.Statement) == 0 {
			continue // a rule of another kind
		}
		found++
		var who string
		for role := range want {
			if strings.Contains(strings.ToLower(p.Statement[0].Sid), role) {
				who = role
			}
		}
		var actions []string
		for _, s := range p.Statement {
			checkResources(t, s.Action, s.Resource)
			actions = append(actions, s.Action...)
		}
		if slices.Sort(actions); !slices.Equal(actions, want[who]) {
			t.Errorf("the policy of the %s allows %v, want %v", who, actions, want[who])
		}
	}
	if found != len(want) {
		t.Errorf("%d policies were found", found)
	}
}

// checkResources: what is asked of the bucket is allowed on the bucket, the rest on its
// objects.
func checkResources(t *testing.T, actions, resources []string) {
	t.Helper()
	for _, resource := range resources {
		onObjects := strings.HasSuffix(resource, "/*")
		for _, action := range actions {
			if onObjects == (action == "s3:ListBucket") {
				t.Errorf("%s is allowed on %s, where it means nothing", action, resource)
			}
		}
	}
}
