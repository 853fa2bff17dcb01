package lint_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"log/slog"
	"path"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/seal"
	"github.com/driftdb/driftdb-go/internal/systemtest"
	"github.com/driftdb/driftdb-go/objstore/s3store"
)

// canary stands for each secret, and is a key.
const canary = "ca9a51ca9a52ca9a53ca9a54ca9a55ca9a56ca9a57ca9a58ca9a59ca9a5aca9a"

// holders are the types that hold secrets, with the package and the name that they
// have in the sources.
var holders = map[string]any{
	"..Config":                driftdb.Config{S3: &driftdb.S3Config{}},
	"..BackupConfig":          driftdb.BackupConfig{S3: &driftdb.S3Config{}},
	"..RestoreConfig":         driftdb.RestoreConfig{S3: &driftdb.S3Config{}},
	"..ResolveConfig":         driftdb.ResolveConfig{S3: &driftdb.S3Config{}},
	"..S3Config":              driftdb.S3Config{},
	"objstore/s3store.Config": s3store.Config{},
	"internal/seal.Ring":      func() any { r, _ := seal.ParseKeys([]string{canary}); return r }(),
	"internal/seal.Options":   func() any { r, _ := seal.ParseKeys([]string{canary}); return seal.Options{Ring: r} }(),
}

// hides are types that hold secrets for a while in fields that nobody prints, and why
// that is so.
var hides = map[string]string{
	"cmd/driftdb.webhook":    "is printed by nobody, and its url, which may have a secret too, in no error",
	"..DB":                   "has none once it is open: see openBucket",
	"internal/remote.Bucket": "points to a Ring, where fmt does not follow",
	"internal/seal.key":      "is in a Ring only, which prints its id",
}

var secretName = regexp.MustCompile(`^(Ring|(?i:secret|secretaccesskey|sessiontoken|encryptionkeys|password|heartbeaturl))$`)

// TestSecretTypes: no struct in the sources has a field that is a secret, or a struct
// that has one, without being in one of the tables.
func TestSecretTypes(t *testing.T) {
	fields := map[string][]string{} // of a struct, the types of its fields
	secret := map[string]bool{}
	for _, f := range sourceFiles(t) {
		ast.Inspect(f.file, func(n ast.Node) bool {
			spec, ok := n.(*ast.TypeSpec)
			if !ok {
				return true
			}
			st, ok := spec.Type.(*ast.StructType)
			if !ok {
				return true
			}
			name := f.pkg + "." + spec.Name.Name
			for _, field := range st.Fields.List {
				for _, id := range field.Names {
					secret[name] = secret[name] || secretName.MatchString(id.Name)
				}
				fields[name] = append(fields[name], f.typeOf(field.Type))
			}
			return true
		})
	}
	for grown := true; grown; {
		grown = false
		for name, types := range fields {
			for _, held := range types {
				if secret[held] && !secret[name] {
					secret[name], grown = true, true
				}
			}
		}
	}
	for name, is := range secret {
		if _, ok := holders[name]; is && !ok && hides[name] == "" {
			t.Errorf("%s holds a secret: give it a Format and a LogValue, and put it into a table", name)
		}
	}
	for name := range holders {
		if !secret[name] {
			t.Errorf("%s is in the table, and holds no secret", name)
		}
	}
}

// TestSecretsArePrinted by no verb and no log, in whatever they are.
func TestSecretsArePrinted(t *testing.T) {
	raw, _ := hex.DecodeString(canary)
	traces := []string{canary, strings.ToUpper(canary), hex.EncodeToString([]byte(canary)), base64.StdEncoding.EncodeToString([]byte(canary)),
		fmt.Sprint(raw)[1:40], fmt.Sprint([]byte(canary))[1:40], string(raw), fmt.Sprintf("%#v", raw)[8:60], fmt.Sprintf("% x", canary), fmt.Sprintf("%#v", []byte(canary))[8:60]}
	look := func(what, text string) {
		t.Helper()
		for _, trace := range traces {
			if strings.Contains(text, trace) {
				t.Errorf("%s prints %s", what, trace)
			}
		}
	}
	for name, holder := range holders {
		v := reflect.New(reflect.TypeOf(holder))
		v.Elem().Set(reflect.ValueOf(holder))
		fillSecrets(v.Elem())
		value := v.Elem().Interface()
		for shape, printed := range map[string]any{
			"value": value, "pointer": v.Interface(), "slice": []any{value, v.Interface()}, "map": map[string]any{"a": value},
			"field": struct{ A, B any }{value, v.Interface()}, "error": fmt.Errorf("it is %v, %+v", value, v.Interface()),
		} {
			what := name + " as " + shape
			for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%200v", "%t"} {
				look(what+" by "+verb, fmt.Sprintf(verb, printed))
			}
			look(what+" by Sprint", fmt.Sprint(printed)+fmt.Sprintln(printed))
			if data, err := json.Marshal(printed); err == nil {
				look(what+" in JSON", string(data))
			} else if !strings.Contains(err.Error(), "unsupported type: func") {
				t.Error(what, err)
			}
			var log bytes.Buffer
			slog.New(slog.NewTextHandler(&log, nil)).Info("x", "a", printed, slog.Group("g", "b", printed))
			if shape == "value" || shape == "pointer" || shape == "error" {
				slog.New(slog.NewJSONHandler(&log, nil)).With("c", printed).Info("x", "a", printed)
			}
			look(what+" in a log", log.String())
		}
	}
	shown := fmt.Sprintf("%+v", driftdb.Config{Name: "app", Path: "x.db", EncryptionKeys: []string{canary}, S3: &driftdb.S3Config{Bucket: "b", AccessKeyID: "id"}})
	for _, want := range []string{"Name:app", "Path:x.db", "Bucket:b", "AccessKeyID:id", "hidden"} {
		if !strings.Contains(shown, want) {
			t.Errorf("what is no secret is hidden, too: no %s in %s", want, shown)
		}
	}
}

// TestSecretsInJSON: a configuration that is read from JSON has its secrets, and all else
// of it is written.
func TestSecretsInJSON(t *testing.T) {
	style := true
	want := driftdb.S3Config{Bucket: "b", Prefix: "p", Region: "r", AccessKeyID: "id", Endpoint: "https://example.com", ForcePathStyle: &style, StorageClass: "STANDARD", DisableChecksums: true}
	data, err := json.Marshal(want)
	systemtest.Check(t, err)
	secret := strings.Replace(string(data), `"SecretAccessKey":""`, `"SecretAccessKey":"`+canary+`"`, 1)
	var got driftdb.S3Config
	systemtest.Check(t, json.Unmarshal([]byte(secret), &got))
	if got.SecretAccessKey != canary {
		t.Errorf("from %s: the secret is %q", secret, got.SecretAccessKey)
	}
	if got.SecretAccessKey = ""; !reflect.DeepEqual(got, want) {
		t.Errorf("from %s: %+v, want %+v", data, got, want)
	}
}

// TestOpenKeepsNoSecret: neither does what Open returns print one.
func TestOpenKeepsNoSecret(t *testing.T) {
	cfg := systemtest.Config(t)
	cfg.EncryptionKeys = []string{canary}
	db := systemtest.Open(t, cfg)
	for _, verb := range []string{"%v", "%+v", "%#v"} {
		if strings.Contains(fmt.Sprintf(verb, db), canary) {
			t.Errorf("%s of a database prints its key", verb)
		}
	}
}

// fillSecrets puts the canary into each string of a field that is a secret by its name.
func fillSecrets(v reflect.Value) {
	if v.Kind() == reflect.Pointer {
		v = v.Elem()
	}
	for i := range v.NumField() {
		field, name := v.Field(i), v.Type().Field(i).Name
		switch {
		case !field.CanSet():
		case name == "Endpoint":
			field.SetString("https://user:" + canary + "@example.com/?x=" + canary)
		case field.Type() == reflect.TypeFor[*driftdb.S3Config]():
			fillSecrets(field)
		case secretName.MatchString(name) && field.Kind() == reflect.String:
			field.SetString(canary)
		case secretName.MatchString(name) && field.Type() == reflect.TypeFor[[]string]():
			field.Set(reflect.ValueOf([]string{canary, canary}))
		}
	}
}

// parsedFile is a file of ours that is no test.
type parsedFile struct {
	pkg     string // its folder
	file    *ast.File
	imports map[string]string // of our packages, by name
}

func sourceFiles(t *testing.T) (files []parsedFile) {
	t.Helper()
	for _, f := range sources(t) {
		file, err := parser.ParseFile(token.NewFileSet(), f.name, nil, 0)
		systemtest.Check(t, err)
		p := parsedFile{path.Dir(f.name), file, map[string]string{}}
		for _, imported := range f.imports {
			if ours, ok := strings.CutPrefix(imported+"/", modulePath+"/"); ok {
				p.imports[path.Base(imported)] = path.Clean(ours)
			}
		}
		files = append(files, p)
	}
	return files
}

// typeOf names the type that a field holds itself; what it points to is not printed
// with it, unless that is a type in the table.
func (s parsedFile) typeOf(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.Ident:
		return s.pkg + "." + e.Name
	case *ast.ArrayType:
		return s.typeOf(e.Elt)
	case *ast.SelectorExpr:
		if pkg, ok := e.X.(*ast.Ident); ok {
			return s.imports[pkg.Name] + "." + e.Sel.Name
		}
	}
	return ""
}

// TestKeysFromEnv: the variable holds one key or several, as for the command, and an
// error says which is wrong without showing any.
func TestKeysFromEnv(t *testing.T) {
	a, b := strings.Repeat("a1", 32), strings.Repeat("B2", 32)
	for value, want := range map[string][]string{a: {a}, a + "," + b: {a, b}, " " + b + " ,\t" + a + "\n": {b, a}} {
		t.Setenv(driftdb.KeyVariable, value)
		keys, err := driftdb.KeysFromEnv()
		if err != nil || !slices.Equal(keys, want) {
			t.Errorf("%q: %q, %v", value, keys, err)
		}
		cfg := systemtest.Config(t)
		cfg.EncryptionKeys = keys
		systemtest.Some(t, systemtest.Open(t, cfg), "t", 1)
	}
	for value, want := range map[string]string{
		"": "is not set", " ": "is not set", a + ",": "key 2 of 2 has 0 bytes", a + "," + a: "the same", "hunter2": "has 7 bytes",
		a + "," + strings.Repeat("xy", 32): "key 2 of 2 is not hex",
	} {
		t.Setenv(driftdb.KeyVariable, value)
		keys, err := driftdb.KeysFromEnv()
		if !errors.Is(err, driftdb.ErrKey) || keys != nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), driftdb.KeyVariable) {
			t.Errorf("%q: %q, %v, want %q", value, keys, err, want)
		}
		for _, secret := range []string{a, "hunter2", "xyxy"} {
			if err != nil && strings.Contains(err.Error(), secret) {
				t.Errorf("the error tells the key: %v", err)
			}
		}
	}
}
