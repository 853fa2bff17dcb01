package objstore

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"
)

func newDir(t *testing.T) *dir {
	t.Helper()
	s, err := Dir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return s.(*dir)
}

func (d *dir) file(name string) string { return filepath.Join(d.path, filepath.FromSlash(name)) }

func put(t *testing.T, s Store, key, body string) error {
	t.Helper()
	_, err := s.Put(t.Context(), key, strings.NewReader(body), PutOptions{})
	return err
}

func mustPut(t *testing.T, s Store, key, body string) {
	t.Helper()
	if err := put(t, s, key, body); err != nil {
		t.Fatal(err)
	}
}

func get(t *testing.T, s Store, key string) (string, error) {
	t.Helper()
	r, _, err := s.Get(t.Context(), key, GetOptions{})
	if err != nil {
		return "", err
	}
	body, err := io.ReadAll(r)
	return string(body), errors.Join(err, r.Close())
}

func TestDirMissing(t *testing.T) {
	missing := filepath.Join(t.TempDir(), "not", "mounted")
	_, err := Dir(missing)
	if !errors.Is(err, ErrNoBucket) || errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), missing) || !strings.Contains(err.Error(), "mkdir") {
		t.Errorf("Dir of a missing folder: %v", err)
	}
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Dir(file); !errors.Is(err, ErrNoBucket) {
		t.Errorf("Dir of a file: %v", err)
	}
	if _, err := Dir(""); err == nil {
		t.Error("Dir of an empty path is no error")
	}

	// A disk that goes away must not look like one without objects.
	d := newDir(t)
	mustPut(t, d, "k", "x")
	if err := os.Rename(d.path, d.path+".away"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(d.path + ".away") })
	for op, err := range calls(t, d, "k") {
		if !errors.Is(err, ErrNoBucket) || errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrFolderReplaced) {
			t.Errorf("%s in a folder that is gone: %v", op, err)
		}
	}
	if err := os.Rename(d.path+".away", d.path); err != nil {
		t.Fatal(err)
	}
	if got, err := get(t, d, "k"); err != nil || got != "x" {
		t.Errorf("after the folder came back: %q, %v", got, err)
	}
}

func TestDirKeysThatCannotBe(t *testing.T) {
	d := newDir(t)
	mustPut(t, d, "x", "file")
	mustPut(t, d, "y/z", "in a folder")
	for _, key := range []string{"x/y", "x/y/z", "y", ".objstore", ".objstore/tmp/a", ".OBJSTORE/lock", strings.Repeat("n", 300)} {
		for _, opts := range []PutOptions{{}, {IfAbsent: true}} {
			_, err := d.Put(t.Context(), key, strings.NewReader("x"), opts)
			if !errors.Is(err, errors.ErrUnsupported) || errors.Is(err, fs.ErrNotExist) {
				t.Errorf("Put(%.20q, %+v): %v, want ErrUnsupported", key, opts, err)
			}
		}
	}
	if _, err := d.Put(t.Context(), "x/y", strings.NewReader("x"), PutOptions{IfMatch: Matching("e")}); !errors.Is(err, ErrPrecondition) {
		t.Errorf("replace below a file: %v, want ErrPrecondition", err)
	}
	for key, want := range map[string]string{"x": "file", "y/z": "in a folder"} {
		if got, err := get(t, d, key); err != nil || got != want {
			t.Errorf("Get(%q) = %q, %v", key, got, err)
		}
	}
	// What a crash leaves of "gone/deep" is no obstacle.
	if err := os.MkdirAll(d.file("left"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, create := range []bool{true, false} {
		if _, err := d.Put(t.Context(), "left", strings.NewReader("x"), PutOptions{IfAbsent: create}); err != nil {
			t.Errorf("Put over an empty folder: %v", err)
		}
	}
}

func TestDirSymlinks(t *testing.T) {
	d := newDir(t)
	outside := t.TempDir()
	if err := os.WriteFile(filepath.Join(outside, "secret"), []byte("s"), 0o600); err != nil {
		t.Fatal(err)
	}
	mustPut(t, d, "inside/k", "x")
	for name, target := range map[string]string{"out": outside, "file": filepath.Join(outside, "secret"), "up": "..", "in": "inside"} {
		err := os.Symlink(target, d.file(name))
		if err == nil {
			_, err = os.Readlink(d.file(name)) // Wine says that it has made one, and has not
		}
		if err != nil {
			t.Skipf("no symbolic links here: %v", err)
		}
	}
	for _, key := range []string{"out/secret", "file", "up/" + filepath.Base(outside) + "/secret"} {
		if got, err := get(t, d, key); err == nil {
			t.Errorf("Get(%q) = %q from outside the folder", key, got)
		}
	}
	for _, key := range []string{"out/new", "up/new"} {
		if err := put(t, d, key, "x"); err == nil {
			t.Errorf("Put(%q) wrote outside the folder", key)
		}
		if err := d.Delete(t.Context(), "out/secret"); err == nil {
			t.Error("Delete removed a file outside the folder")
		}
	}
	if got, err := get(t, d, "in/k"); err != nil || got != "x" {
		t.Errorf("Get through a link that stays inside: %q, %v", got, err)
	}
	if got := listKeys(t, d, ""); !slices.Equal(got, []string{"inside/k"}) {
		t.Errorf("List = %q, want no links", got)
	}
	if err := d.Delete(t.Context(), "in/k"); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(d.file("in")); err != nil {
		t.Errorf("Delete removed a link with the folder it emptied: %v", err)
	}
	if entries, err := os.ReadDir(outside); err != nil || len(entries) != 1 {
		t.Errorf("the folder outside has %v, %v", entries, err)
	}
}

func listKeys(t *testing.T, s Store, prefix string) (keys []string) {
	t.Helper()
	for info, err := range s.List(t.Context(), prefix, ListOptions{}) {
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, info.Key)
	}
	return keys
}

func TestDirLeftovers(t *testing.T) {
	d := newDir(t)
	if err := os.MkdirAll(d.file(tempDir), 0o700); err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	for name, age := range map[string]time.Duration{"old": 25 * time.Hour, "young": 23 * time.Hour} {
		file := d.file(tempDir + "/" + name)
		if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(file, now, now.Add(-age)); err != nil {
			t.Fatal(err)
		}
	}
	for _, key := range []string{"a", "b/c"} {
		mustPut(t, d, key, "x")
	}
	if _, err := d.Put(t.Context(), "a", strings.NewReader("y"), PutOptions{IfAbsent: true}); !errors.Is(err, ErrPrecondition) {
		t.Error(err)
	}
	if entries, err := os.ReadDir(d.file(tempDir)); err != nil || len(entries) != 1 || entries[0].Name() != "young" {
		t.Errorf("temporary files: %v, %v, want only the young one", entries, err)
	}
	if got := listKeys(t, d, ""); !slices.Equal(got, []string{"a", "b/c"}) {
		t.Errorf("List = %q", got)
	}
	if got := listKeys(t, d, ".objstore/"); len(got) != 0 {
		t.Errorf("List of the store's own files = %q", got)
	}
	if err := os.MkdirAll(d.file("crashed/before/the/move"), 0o700); err != nil {
		t.Fatal(err)
	}
	var level []string
	for info, err := range d.List(t.Context(), "", ListOptions{Folders: true}) {
		if err != nil {
			t.Fatal(err)
		}
		level = append(level, info.Key)
	}
	if !slices.Equal(level, []string{"a", "b/"}) {
		t.Errorf("List of folders = %q, want none that are empty", level)
	}
}

func TestDirModes(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows has no such modes")
	}
	d := newDir(t)
	mustPut(t, d, "a/b", "x")
	for name, want := range map[string]fs.FileMode{"a": 0o700 | fs.ModeDir, "a/b": 0o600, privateDir: 0o700 | fs.ModeDir, lockFile: 0o600, markFile: 0o600} {
		fi, err := os.Stat(d.file(name))
		if err != nil {
			t.Fatal(err)
		}
		if fi.Mode() != want {
			t.Errorf("%s has mode %v, want %v", name, fi.Mode(), want)
		}
	}
	// Reading must not need the right to write, nor a mark.
	if err := os.RemoveAll(d.file(privateDir)); err != nil {
		t.Fatal(err)
	}
	reader, err := Dir(d.path)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := get(t, reader, "a/b"); err != nil || got != "x" {
		t.Error(got, err)
	}
	if err := reader.Delete(t.Context(), "never/there"); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(d.file(privateDir)); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("reading made %s: %v", privateDir, err)
	}
}

// Another process deletes the folder that this store has made before.
func TestDirFolderDeletedBehindUs(t *testing.T) {
	d := newDir(t)
	other, err := Dir(d.path)
	if err != nil {
		t.Fatal(err)
	}
	for _, create := range []bool{true, false} {
		mustPut(t, d, "a/b/c", "x")
		if err := other.Delete(t.Context(), "a/b/c"); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(d.file("a")); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the emptied folder is still there: %v", err)
		}
		if _, err := d.Put(t.Context(), "a/b/d/e", strings.NewReader("y"), PutOptions{IfAbsent: create}); err != nil {
			t.Error(err)
		}
		if err := other.Delete(t.Context(), "a/b/d/e"); err != nil {
			t.Fatal(err)
		}
	}
}

// Where a hard link cannot be had, a rename takes its place. A folder is what
// can be renamed and not linked on every file system.
func TestMoveWithoutLinks(t *testing.T) {
	root, err := os.OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	if err := root.Mkdir("from", 0o700); err != nil {
		t.Fatal(err)
	}
	if err := move(t.Context(), root, "from", "to", true); err != nil {
		t.Fatal(err)
	}
	if _, err := root.Stat("to"); err != nil {
		t.Error(err)
	}
}

func TestDirETagCache(t *testing.T) {
	d := newDir(t)
	long := time.Now().Add(-time.Hour).Truncate(time.Second)
	body := bytes.Repeat([]byte("a"), cacheFrom)
	etag := func() string {
		t.Helper()
		if err := os.Chtimes(d.file("big"), long, long); err != nil {
			t.Fatal(err)
		}
		r, info, err := d.Get(t.Context(), "big", GetOptions{Offset: 5, Length: 1})
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Close(); err != nil {
			t.Fatal(err)
		}
		return info.ETag
	}
	mustPut(t, d, "big", string(body))
	first := etag()
	if again := etag(); again != first || len(d.etags.known) != 1 {
		t.Errorf("ETags %s, %s; %d remembered, want 1", first, again, len(d.etags.known))
	}
	// Same size, same time, another file.
	body[7] = 'b'
	mustPut(t, d, "big", string(body))
	if other := etag(); other == first {
		t.Error("a replaced file has the old ETag")
	}
	for i := range cacheMax + 10 {
		d.etags.remember(string(rune('a'+i)), knownETag{})
	}
	if len(d.etags.known) > cacheMax {
		t.Errorf("%d ETags remembered, want at most %d", len(d.etags.known), cacheMax)
	}
}

// A file that is cut behind the store's back is no complete body.
func TestDirCutFile(t *testing.T) {
	d := newDir(t)
	mustPut(t, d, "k", strings.Repeat("x", 100_000))
	r, _, err := d.Get(t.Context(), "k", GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := os.Truncate(d.file("k"), 50_000); err != nil {
		t.Skipf("an open file cannot be cut here: %v", err)
	}
	if got, err := io.ReadAll(r); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("read %d bytes, %v, want io.ErrUnexpectedEOF", len(got), err)
	}
}

// Waiting for the lock ends with the context.
func TestDirLockWait(t *testing.T) {
	d := newDir(t)
	mustPut(t, d, "k", "x")
	other, err := Dir(d.path)
	if err != nil {
		t.Fatal(err)
	}
	root, err := other.(*dir).open()
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	unlock, err := other.(*dir).lock(t.Context(), root)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	_, err = d.Put(ctx, "k", strings.NewReader("y"), PutOptions{})
	if !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Put under a held lock: %v", err)
	}
	unlock()
	if got, err := get(t, d, "k"); err != nil || got != "x" {
		t.Error(got, err)
	}
	mustPut(t, d, "k", "y")
}

// TestDirPutWhatIsRead: what has been read to its end can be put anew before the reader is
// closed, on Windows, too; what has not can still be read.
func TestDirPutWhatIsRead(t *testing.T) {
	d := newDir(t)
	for _, text := range []string{"", "x", strings.Repeat("long", 10_000)} {
		mustPut(t, d, "k", text)
		body, info, err := d.Get(t.Context(), "k", GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		read := make([]byte, len(text))
		if _, err := io.ReadFull(body, read); err != nil || string(read) != text {
			t.Fatalf("%d bytes, %v", len(read), err)
		}
		if len(text) == 0 {
			if n, err := body.Read(make([]byte, 1)); n != 0 || err != io.EOF {
				t.Errorf("an empty object: %d, %v", n, err)
			}
		}
		if _, err := d.Put(t.Context(), "k", strings.NewReader("anew"), PutOptions{IfMatch: Matching(info.ETag)}); err != nil {
			t.Errorf("an object of %d bytes that was read: %v", len(text), err)
		}
		n, err := body.Read(make([]byte, 1))
		if n != 0 || err != io.EOF || body.Close() != nil {
			t.Errorf("at the end: %d, %v", n, err)
		}
	}
	mustPut(t, d, "k", "half")
	body, _, err := d.Get(t.Context(), "k", GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadFull(body, make([]byte, 2)); err != nil || body.Close() != nil {
		t.Fatal(err)
	}
	if _, err := body.Read(make([]byte, 2)); err == nil || err == io.EOF {
		t.Errorf("half an object that was closed looks whole: %v", err)
	}
}
