// Package corpustest plays databases against the library that nobody made for it:
// SQLite's fuzz corpus, and files of other programs. Each is either refused and left
// as it was, or adopted, followed, and restored equal.
package corpustest

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// fuzzdata are the files of SQLite's fuzz corpus in the driver's module.
func fuzzdata(t *testing.T) []string {
	t.Helper()
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "modernc.org/sqlite").Output()
	if err != nil {
		t.Skipf("the driver's module cannot be found: %v", err)
	}
	files, err := filepath.Glob(filepath.Join(strings.TrimSpace(string(out)), "testdata", "tcl", "fuzzdata*.db"))
	if err != nil || len(files) == 0 {
		t.Skipf("the driver's module has no fuzz corpus here (%v)", err)
	}
	return files
}

// image is a database file of the corpus.
type image struct {
	name string // the file of the corpus, the table, and the row
	data []byte

	ours    bool          // DriftDB has had it open: its log may be damaged
	mutated func() []byte // instead of data, which would take too much memory for all of them
}

// images are the database files in the corpus, each once.
func images(t *testing.T) []image {
	t.Helper()
	var out []image
	seen := map[[sha256.Size]byte]bool{}
	add := func(name string, data []byte) {
		if sum := sha256.Sum256(data); len(data) > 0 && !seen[sum] {
			seen[sum] = true
			out = append(out, image{name: name, data: data})
		}
	}
	for _, file := range fuzzdata(t) {
		c, err := sqlite.Open(file, sqlite.Options{Immutable: true})
		if err != nil {
			t.Fatal(err)
		}
		name := filepath.Base(file)
		err = c.Each("SELECT dbid, dbcontent FROM db", func(st *sqlite.Stmt) error {
			add(fmt.Sprintf("%s db %d", name, st.Int64(0)), bytes.Clone(st.View(1)))
			return nil
		})
		if err == nil {
			err = c.Each("SELECT sqlid, sqltext FROM xsql", func(st *sqlite.Stmt) error {
				if text := st.View(1); isDatabase(text) {
					add(fmt.Sprintf("%s xsql %d", name, st.Int64(0)), decode(text))
				}
				return nil
			})
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
		if err != nil {
			t.Fatalf("%s: %v", file, err)
		}
	}
	return out
}

// scripts are the SQL scripts in the corpus, each once.
func scripts(t *testing.T) []image {
	t.Helper()
	var out []image
	seen := map[[sha256.Size]byte]bool{}
	for _, file := range fuzzdata(t) {
		c, err := sqlite.Open(file, sqlite.Options{Immutable: true})
		if err != nil {
			t.Fatal(err)
		}
		err = c.Each("SELECT sqlid, sqltext FROM xsql", func(st *sqlite.Stmt) error {
			text := bytes.Clone(st.View(1))
			if _, after, found := bytes.Cut(text, []byte("\n--\n")); found && isDatabase(text) {
				text = after
			} else if isDatabase(text) {
				return nil
			}
			if sum := sha256.Sum256(text); !seen[sum] {
				seen[sum] = true
				out = append(out, image{name: fmt.Sprintf("%s xsql %d", filepath.Base(file), st.Int64(0)), data: text})
			}
			return nil
		})
		if err := errors.Join(err, c.Close()); err != nil {
			t.Fatalf("%s: %v", file, err)
		}
	}
	return out
}

// sample are every n-th of all, so that all sorts are in it.
func sample(all []image, n int) []image {
	var out []image
	for i := 0; i < len(all); i += max(1, len(all)/max(n, 1)) {
		out = append(out, all[i])
	}
	return out
}

// isDatabase says whether a script of the corpus begins with a database in hex.
func isDatabase(text []byte) bool {
	if bytes.HasPrefix(text, []byte("\n--\n")) {
		return true
	}
	var digits []byte
	for _, c := range bytes.TrimSpace(text)[:min(12, len(bytes.TrimSpace(text)))] {
		if _, ok := hexDigit(c); ok {
			digits = append(digits, c)
		}
	}
	return len(digits) >= 8 && strings.EqualFold(string(digits[:8]), "53514c69")
}

// decode is the database in such a script. It ends with a line of two hyphens;
// [N] goes on at another place, as in SQLite's fuzzcheck.
func decode(text []byte) []byte {
	const most = 1 << 20
	var data []byte
	var high byte
	nibbles := 0
	for i := 0; i < len(text); i++ {
		if d, ok := hexDigit(text[i]); ok {
			if nibbles++; nibbles%2 == 1 {
				high = d << 4
				continue
			}
			at := nibbles/2 - 1
			if at >= most {
				break
			}
			if at >= len(data) {
				data = append(data, make([]byte, (at+4096)&^4095-len(data))...)
			}
			data[at] = high | d
			continue
		}
		if bytes.HasPrefix(text[i:], []byte("\n--\n")) {
			break
		}
		if text[i] == '[' {
			var at int
			if _, err := fmt.Sscanf(string(text[i:min(i+24, len(text))]), "[%d]", &at); err == nil && at >= 0 && at < most {
				nibbles = 2 * at
				i += bytes.IndexByte(text[i:], ']')
			}
		}
	}
	return data
}

func hexDigit(c byte) (byte, bool) {
	switch {
	case '0' <= c && c <= '9':
		return c - '0', true
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10, true
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}

// place is what a folder holds: names, kinds, sizes and contents.
func place(dir string) (string, error) {
	var out []string
	entries, err := os.ReadDir(dir)
	if err != nil {
		return "", err
	}
	for _, e := range entries {
		data, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			return "", err
		}
		out = append(out, fmt.Sprintf("%s %s %d %x", e.Name(), e.Type(), len(data), sha256.Sum256(data)))
	}
	slices.Sort(out)
	return strings.Join(out, "\n"), nil
}
