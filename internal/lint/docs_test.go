package lint_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	osexec "os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/batch"
	"github.com/driftdb/driftdb-go/internal/dbtest"
	"github.com/driftdb/driftdb-go/internal/systemtest"
	"github.com/driftdb/driftdb-go/objstore"
)

// blocks are the code blocks of a document in one language.
func blocks(doc, language string) []string {
	var out []string
	for _, m := range regexp.MustCompile("(?ms)^```"+language+"\n(.*?)^```$").FindAllStringSubmatch(doc, -1) {
		out = append(out, m[1])
	}
	return out
}

// TestReadmeCompiles: the Go code in the README is part of the examples, which are compiled,
// whatever its indentation.
func TestReadmeCompiles(t *testing.T) {
	if compiles(t, "README.md", "example_test.go") == 0 {
		t.Fatal("no Go code was found in README.md")
	}
}

// TestGuidesCompile: so is the Go code of the pages in docs. Whole programs are built and
// run by the tests of their pages.
func TestGuidesCompile(t *testing.T) {
	pages := systemtest.Must(filepath.Glob("docs/*.md"))
	found := 0
	for _, page := range pages {
		found += compiles(t, filepath.ToSlash(page), "example_guides_test.go", "example_consume_test.go", "inspect/example_test.go", "driftgorm/example_test.go", "driftprom/example_test.go", "driftotel/example_test.go")
	}
	if len(pages) < 10 || found < 10 {
		t.Errorf("%d pages with %d pieces of Go code", len(pages), found)
	}
}

// compiles fails for Go code in a page that is not part of one of the files, and returns how
// much there is.
func compiles(t *testing.T, page string, files ...string) (found int) {
	t.Helper()
	flat := func(code string) string {
		var b strings.Builder
		for line := range strings.Lines(code) {
			b.WriteString(strings.TrimSpace(line) + "\n")
		}
		return b.String()
	}
	compiled := "\n"
	for _, file := range files {
		compiled += flat(systemtest.ReadDoc(t, file))
	}
	for _, block := range blocks(systemtest.ReadDoc(t, page), "go") {
		if strings.HasPrefix(block, "package ") {
			continue
		}
		found++
		if !strings.Contains(compiled, "\n"+flat(block)) {
			t.Errorf("this code of %s is not in %v:\n%s", page, files, block)
		}
	}
	return found
}

// TestLinks: the files that the documents point to are there, and have the headings.
func TestLinks(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)#]*)(?:#([^)]*))?\)`)
	code := regexp.MustCompile("(?ms)^```.*?^```$")
	decisions, err := filepath.Glob("docs/adr/*.md")
	if err != nil || len(decisions) < 2 {
		t.Fatalf("docs/adr: %v, %v", decisions, err)
	}
	pages := systemtest.Must(filepath.Glob("docs/*.md"))
	for _, doc := range slices.Concat(decisions, pages, []string{"README.md", "CONTRIBUTING.md", "SECURITY.md", "CHANGELOG.md", "examples/README.md"}) {
		for _, m := range link.FindAllStringSubmatch(code.ReplaceAllString(systemtest.ReadDoc(t, doc), ""), -1) {
			target, heading := m[1], m[2]
			if strings.Contains(target, "://") {
				continue
			}
			file := doc
			if target != "" {
				file = filepath.Join(filepath.Dir(doc), target)
			}
			if _, err := os.Stat(file); err != nil {
				t.Errorf("%s points to %s: %v", doc, m[1], err)
			} else if heading != "" && strings.HasSuffix(file, ".md") && !slices.Contains(anchors(systemtest.ReadDoc(t, file)), heading) {
				t.Errorf("%s points to #%s, which %s does not have", doc, heading, file)
			}
		}
	}
}

// anchors are the names by which links reach the headings of a document.
func anchors(doc string) (names []string) {
	dropped := regexp.MustCompile(`[^\w\- ]`)
	for _, m := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(doc, -1) {
		names = append(names, strings.ReplaceAll(dropped.ReplaceAllString(strings.ToLower(m[1]), ""), " ", "-"))
	}
	return names
}

// TestFormatExamples: the manifest and the batch in FORMAT.md are a backup that
// can be restored, and its hashes are those that the document gives.
func TestFormatExamples(t *testing.T) {
	ctx := t.Context()
	doc := systemtest.ReadDoc(t, "docs/FORMAT.md")
	code := blocks(doc, "json")
	if len(code) != 2 {
		t.Fatalf("%d JSON blocks in FORMAT.md, want the manifest and a batch", len(code))
	}
	manifest, written := code[0], code[1]

	authentic := objstore.Mem()
	mac := regexp.MustCompile("`([0-9a-f]{16}:[0-9a-f]{64})`").FindStringSubmatch(doc)
	if mac == nil {
		t.Fatal("FORMAT.md has no MAC for its example")
	}
	sum := regexp.MustCompile(`"checksum": "[^"]*"`)
	putDoc(t, authentic, "databases/crm/manifest.json", sum.ReplaceAllString(manifest, `"mac": "`+mac[1]+`"`))
	key := "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
	info, err := systemtest.InfoOf(ctx, driftdb.BackupConfig{Name: "crm", Store: authentic, EncryptionKeys: []string{key}})
	if err != nil {
		t.Fatalf("the example's MAC: %v", err)
	}

	r, err := batch.NewReader(strings.NewReader(written))
	if err != nil {
		t.Fatal(err)
	}
	if genesis := batch.Genesis(info.DatabaseID); r.Header().Prev != genesis {
		t.Errorf("the example begins at chain %s, not at %s", r.Header().Prev, genesis)
	}
	chains := fmt.Sprintf("| 0 | `%s` |\n", r.Chain())
	for {
		rec, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if rec.Last {
			chains += fmt.Sprintf("| %d | `%s` |\n", rec.Sequence, r.Chain())
		}
	}
	if !strings.Contains(doc, chains) {
		t.Errorf("FORMAT.md lacks this table of chains:\n%s", chains)
	}

	plain := objstore.Mem()
	putDoc(t, plain, "databases/crm/manifest.json", manifest)
	putDoc(t, plain, "databases/crm/nodes/a1b2c3d4e5f6/logs/000000000001-000000000003.e1.json", written)
	res, err := driftdb.Restore(ctx, driftdb.RestoreConfig{Name: "crm", Path: filepath.Join(t.TempDir(), "crm.sqlite"), Store: plain})
	if err != nil || res.Sequence != 3 || res.Rows != 1 {
		t.Fatalf("restore of the examples: %+v, %v", res, err)
	}
}

func putDoc(t *testing.T, store objstore.Store, key, text string) {
	t.Helper()
	if _, err := store.Put(t.Context(), key, strings.NewReader(text), objstore.PutOptions{}); err != nil {
		t.Fatal(err)
	}
}

// TestRestoreByHand runs the restore of FORMAT.md, which uses nothing of ours,
// and compares the result with the source.
func TestRestoreByHand(t *testing.T) {
	for _, tool := range []string{"sh", "gunzip", "sed", "jq", "sqlite3"} {
		if _, err := osexec.LookPath(tool); err != nil {
			if os.Getenv("DRIFTDB_REQUIRE_TOOLS") != "" {
				t.Fatal(err)
			}
			t.Skip(err)
		}
	}
	_, after, _ := strings.Cut(systemtest.ReadDoc(t, "docs/FORMAT.md"), "<!-- by hand -->\n")
	script, _, ok := strings.Cut(after, "<!-- end by hand -->")
	if !ok {
		t.Fatal("FORMAT.md has no restore by hand between its markers")
	}
	for name, snapshot := range map[string]bool{"from a snapshot": true, "from the first change": false} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			source := byHandSource(t, dir, snapshot)
			byHand(t, dir, blocks(script, "sh")[0])
			dbtest.Equal(t, source, filepath.Join(dir, "restored.sqlite"))
			source = byHandFork(t, dir)
			byHand(t, dir, strings.Replace(blocks(script, "sh")[0], "name=app", "name=fork", 1))
			dbtest.Equal(t, source, filepath.Join(dir, "restored.sqlite"))
		})
	}
}

func byHand(t *testing.T, dir, script string) {
	t.Helper()
	cmd := osexec.CommandContext(t.Context(), "sh")
	cmd.Dir, cmd.Stdin = dir, strings.NewReader(script)
	if out, err := cmd.CombinedOutput(); err != nil || !bytes.HasSuffix(out, []byte("ok\n")) {
		t.Fatalf("%v: %s", err, out)
	}
}

// byHandFork makes a fork of byHandSource's backup, at a change inside its log, with
// changes of its own, and returns the path of its file.
func byHandFork(t *testing.T, bucket string) string {
	t.Helper()
	store, err := objstore.Dir(bucket)
	if err != nil {
		t.Fatal(err)
	}
	b, err := driftdb.OpenBackup(t.Context(), driftdb.BackupConfig{Name: "app", Store: store})
	if err != nil {
		t.Fatal(err)
	}
	info, err := b.Info(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Fork(t.Context(), "fork", driftdb.Point{Sequence: info.Sequence - 5}); err != nil {
		t.Fatal(err)
	}
	cfg := driftdb.Config{Name: "fork", Path: filepath.Join(t.TempDir(), "fork.sqlite"), Store: store, ManualSync: true, AutoRestore: true}
	cfg.SnapshotEvery = math.MaxInt32
	db := systemtest.Open(t, cfg)
	for _, query := range []string{"INSERT INTO keyless VALUES('in the fork', 1)", "CREATE TABLE forked AS SELECT * FROM texts LIMIT 3"} {
		systemtest.Exec(t, db, query)
	}
	if err := db.Shutdown(t.Context()); err != nil {
		t.Fatal(err)
	}
	return cfg.Path
}

// byHandSource makes a database with all that the restore by hand can carry,
// and its backup in the folder bucket. It returns the database's path.
func byHandSource(t *testing.T, bucket string, snapshot bool) string {
	t.Helper()
	ctx := t.Context()
	store, err := objstore.Dir(bucket)
	if err != nil {
		t.Fatal(err)
	}
	cfg := driftdb.Config{Name: "app", Path: filepath.Join(t.TempDir(), "source.sqlite"), Store: store, ManualSync: true}
	cfg.SnapshotEvery = math.MaxInt32 // or a snapshot at the end leaves nothing to replay
	db := systemtest.Open(t, cfg)
	run := func(query string, args ...any) {
		t.Helper()
		if _, err := db.Exec(ctx, query, args...); err != nil {
			t.Fatalf("%s: %v", query, err)
		}
	}
	run(`CREATE TABLE texts(id TEXT PRIMARY KEY, v TEXT);
		CREATE TABLE "odd ""table"(id INTEGER PRIMARY KEY AUTOINCREMENT, "a 'b'" , r REAL, n NUMERIC, i INTEGER, t TEXT);
		CREATE TABLE keyless(a, b);
		CREATE TABLE worowid(a TEXT, b INTEGER, c, PRIMARY KEY(b, a)) WITHOUT ROWID;
		CREATE TABLE counted(n); CREATE TRIGGER count AFTER INSERT ON keyless BEGIN INSERT INTO counted VALUES(new.a); END`)
	values := byHandValues()
	fill := func(part int) {
		t.Helper()
		err := db.Tx(ctx, func(tx *driftdb.Tx) error { return byHandRows(ctx, tx, part, values) })
		if err != nil {
			t.Fatal(err)
		}
	}
	fill(1)
	if snapshot {
		if _, err := db.Snapshot(ctx); err != nil {
			t.Fatal(err)
		}
	}
	run("UPDATE texts SET v = v || ? WHERE rowid % 3 = 0", "\r\n'changed'")
	run("UPDATE keyless SET rowid = rowid + 100000 WHERE rowid % 5 = 0; UPDATE keyless SET b = a WHERE rowid % 2; DELETE FROM keyless WHERE rowid % 7 = 0")
	run("ALTER TABLE texts ADD COLUMN added REAL DEFAULT 1.5; ALTER TABLE worowid RENAME COLUMN c TO renamed; CREATE INDEX i ON texts(v); PRAGMA user_version = 7")
	if err := db.Flush(ctx); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil { // the next session has another epoch
		t.Fatal(err)
	}
	db = systemtest.Open(t, cfg)
	fill(2)
	run("UPDATE worowid SET b = b + 1000000, renamed = NULL WHERE b % 3 = 0; DELETE FROM worowid WHERE b % 5 = 0")
	run(`DELETE FROM "odd ""table" WHERE id > 40; UPDATE sqlite_sequence SET seq = 5000; CREATE VIEW w AS SELECT * FROM texts; DROP TABLE counted; DROP TRIGGER count`)
	if err := db.Shutdown(ctx); err != nil {
		t.Fatal(err)
	}
	return cfg.Path
}

// byHandRows puts each value into a table of every kind.
func byHandRows(ctx context.Context, tx *driftdb.Tx, part int, values []any) error {
	for i, v := range values {
		for _, insert := range []string{
			"INSERT INTO texts(id, v) VALUES(?1 || '-' || ?2, ?3)",
			`INSERT INTO "odd ""table"("a 'b'", r, n, i, t) VALUES(?3, ?3, ?3, ?3, ?3)`,
			"INSERT INTO keyless(a, b) VALUES(?3, ?2)",
			"INSERT INTO worowid VALUES(?1, ?2, ?3)",
		} {
			if _, err := tx.Exec(ctx, insert, part, i, v); err != nil {
				return fmt.Errorf("%s with %T %v: %w", insert, v, v, err)
			}
		}
	}
	return nil
}

// byHandValues are values of every storage class, and the awkward ones.
func byHandValues() []any {
	values := []any{
		nil, 0, 5, -1, 1 << 53, 1<<53 + 1, -1<<53 - 1, math.MaxInt64, math.MinInt64,
		5.0, 0.1, 1e15, 1e300, 9.5e-7, -2.2606631148481385e-299, math.Copysign(0, -1), math.Inf(1), math.Inf(-1), math.MaxFloat64, math.SmallestNonzeroFloat64,
		"", "it's", `"quoted \"`, "Grüße, 世界 🌊", "a\nb\r\nc\td", "nul\x00nul", "\x01\x1f\x7f", ".exit\n.quit\n;\n/\n", "not utf-8 \xff\xc3", `{"$real":"1.5"} 2.5e+10,`,
		[]byte{}, []byte{0}, []byte{0xff, 0xfe}, []byte{1, 2, 3}, []byte("SELECT 1"),
	}
	r := rand.New(rand.NewPCG(1, 2))
	for i := range 200 {
		f := math.Float64frombits(r.Uint64())
		if math.IsNaN(f) {
			f = r.Float64()
		}
		blob := binary.LittleEndian.AppendUint64(nil, r.Uint64())
		values = append(values, f, (r.Float64()-0.5)*1e6, int64(r.Uint64()), blob[:i%9])
	}
	return values
}

// TestDecisions: the records of decisions are numbered without a gap, have all parts, and
// are in the index.
func TestDecisions(t *testing.T) {
	files, err := filepath.Glob("docs/adr/0*.md")
	if err != nil || len(files) == 0 {
		t.Fatalf("%v, %v", files, err)
	}
	index := systemtest.ReadDoc(t, "docs/adr/README.md")
	for i, file := range files {
		text := systemtest.ReadDoc(t, file)
		title, _, _ := strings.Cut(text, "\n")
		number, words, ok := strings.Cut(strings.TrimPrefix(title, "# "), ". ")
		if !ok || number != fmt.Sprint(i+1) || !strings.HasPrefix(filepath.Base(file), fmt.Sprintf("%04d-", i+1)) {
			t.Errorf("%s is not number %d: %s", file, i+1, title)
		}
		if !strings.Contains(index, fmt.Sprintf("| [%s](%s) | %s |\n", number, filepath.Base(file), words)) {
			t.Errorf("%s is not in the index as %q", file, words)
		}
		for _, part := range []string{"Context", "Decision", "Alternatives", "Consequences"} {
			if !strings.Contains(text, "\n## "+part+"\n") {
				t.Errorf("%s has no part %q", file, part)
			}
		}
	}
}

// TestArchitecture: each file that ARCHITECTURE.md names is there, and what it names
// behind a file is in that file.
func TestArchitecture(t *testing.T) {
	named := regexp.MustCompile("`([^`\n]+)`")
	for n, line := range strings.Split(systemtest.ReadDoc(t, "docs/ARCHITECTURE.md"), "\n") {
		text := ""
		for _, m := range named.FindAllStringSubmatch(line, -1) {
			name := m[1]
			if strings.HasSuffix(name, ".go") {
				if text = sourceOf(name); text == "" {
					t.Errorf("line %d: there is no %s", n+1, name)
				}
				continue
			}
			if text != "" && regexp.MustCompile(`^[a-zA-Z]\w*$`).MatchString(name) && !regexp.MustCompile(`\b`+name+`\b`).MatchString(text) {
				t.Errorf("line %d: %s is not in the file before it", n+1, name)
			}
		}
	}
}

// sourceOf is the file that a document means with name; "" if there is none.
func sourceOf(name string) string {
	for _, folder := range []string{"", "internal/", "objstore/"} {
		if text, err := os.ReadFile(folder + name); err == nil {
			return string(text)
		}
	}
	return ""
}
