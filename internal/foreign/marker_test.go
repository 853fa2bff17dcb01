package foreign

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/driftdb/driftdb-go/internal/dbfile"
	"pgregory.net/rapid"
)

// TestMarker: a marker is read as it was written, and one that is damaged is none.
func TestMarker(t *testing.T) {
	f, err := dbfile.Take(filepath.Join(t.TempDir(), "app.sqlite"))
	must(t, err)
	defer f.Release()
	if m, ok := readMarker(f); ok {
		t.Errorf("without a marker: %+v", m)
	}
	rapid.Check(t, func(rt *rapid.T) {
		n := rapid.Int64()
		m := marker{
			file: fileStat{size: rapid.Int64Min(0).Draw(rt, "size"), modified: n.Draw(rt, "modified")},
			sum:  uint64(n.Draw(rt, "sum")), inode: uint64(n.Draw(rt, "inode")), open: rapid.Bool().Draw(rt, "open"),
		}
		must(t, m.write(f))
		if got, ok := readMarker(f); !ok || got != m {
			rt.Fatalf("%+v became %+v, %v", m, got, ok)
		}
		line := []byte(m.String())
		if len(line) != markerLen {
			rt.Fatalf("%q has %d bytes", line, len(line))
		}
		line[rapid.IntRange(0, markerLen-1).Draw(rt, "at")] ^= 1 << rapid.IntRange(0, 7).Draw(rt, "bit")
		must(t, f.WriteMarker(line))
		if got, ok := readMarker(f); ok {
			rt.Fatalf("%q is read as %+v", line, got)
		}
	})
}

// TestMarkClean: a file that we have made is as we have left it, until it is written.
func TestMarkClean(t *testing.T) {
	path := filepath.Join(t.TempDir(), "app.sqlite")
	must(t, os.WriteFile(path, []byte("something"), 0o600))
	f, err := dbfile.Take(path)
	must(t, err)
	defer f.Release()
	must(t, MarkClean(f))
	w := New(Config{File: f})
	asLeft := func() bool {
		t.Helper()
		found, err := w.Look(false)
		must(t, err)
		same, err := found.AsLeft(nil)
		must(t, err)
		return same
	}
	if !asLeft() {
		t.Error("a new file is not as we have left it")
	}
	must(t, os.WriteFile(path, []byte("something else"), 0o600))
	if asLeft() {
		t.Error("it was written, and that was not found")
	}
}
