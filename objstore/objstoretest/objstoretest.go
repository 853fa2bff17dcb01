// Package objstoretest tests implementations of [objstore.Store] and code built on them:
// [Run] is the suite that every store must pass, [Counting] counts a program's calls of a
// store, and [Faulty] misbehaves on purpose.
package objstoretest

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/driftdb/driftdb-go/objstore"
)

// Run checks that a store keeps every promise of [objstore.Store]. Each part of the suite
// calls open for its own store, which must be empty.
func Run(t *testing.T, open func(t *testing.T) objstore.Store) {
	for _, part := range []struct {
		name string
		test func(t *testing.T, s store)
	}{
		{"PutGet", testPutGet},
		{"Empty", testEmpty},
		{"Missing", testMissing},
		{"Keys", testKeys},
		{"InvalidKeys", testInvalidKeys},
		{"Conditions", testConditions},
		{"Ranges", testRanges},
		{"Unchanged", testUnchanged},
		{"Large", testLarge},
		{"BrokenBody", testBrokenBody},
		{"Delete", testDelete},
		{"List", testList},
		{"ListStartAfter", testListStartAfter},
		{"ListFolders", testListFolders},
		{"ListMany", testListMany},
		{"ListBreak", testListBreak},
		{"Canceled", testCanceled},
		{"RaceCreate", testRaceCreate},
		{"RaceReplace", testRaceReplace},
		{"RaceDelete", testRaceDelete},
		{"NoTornReads", testNoTornReads},
	} {
		t.Run(part.name, func(t *testing.T) { part.test(t, store{t, open(t)}) })
	}
}

// store is a Store with shorthands for tests.
type store struct {
	t *testing.T
	objstore.Store
}

func (s store) put(key, body string, opts objstore.PutOptions) (objstore.Info, error) {
	// A reader that can only read, like a pipe.
	return s.Put(s.t.Context(), key, iotest.OneByteReader(strings.NewReader(body)), opts)
}

func (s store) mustPut(key, body string) objstore.Info {
	s.t.Helper()
	info, err := s.put(key, body, objstore.PutOptions{})
	if err != nil {
		s.t.Fatalf("Put(%q): %v", key, err)
	}
	if info.Key != key || info.Size != int64(len(body)) || info.ETag == "" {
		s.t.Fatalf("Put(%q) of %d bytes returned %+v", key, len(body), info)
	}
	return info
}

func (s store) get(key string, opts objstore.GetOptions) (string, objstore.Info, error) {
	r, info, err := s.Get(s.t.Context(), key, opts)
	if err != nil {
		return "", info, err
	}
	body, err := io.ReadAll(r)
	return string(body), info, errors.Join(err, r.Close())
}

func (s store) wantBody(key, want string) {
	s.t.Helper()
	if got, _, err := s.get(key, objstore.GetOptions{}); err != nil || got != want {
		s.t.Fatalf("Get(%q) = %.60q, %v, want %.60q", key, got, err, want)
	}
}

func (s store) wantMissing(key string) {
	s.t.Helper()
	if got, _, err := s.get(key, objstore.GetOptions{}); !errors.Is(err, fs.ErrNotExist) {
		s.t.Fatalf("Get(%q) = %.60q, %v, want fs.ErrNotExist", key, got, err)
	}
}

func wantError(t *testing.T, what string, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("%s: error %v, want %v", what, err, want)
	}
}

// noise returns n bytes that do not repeat, the same on each run.
func noise(n int) []byte {
	b := make([]byte, n)
	rand.NewChaCha8([32]byte{1}).Read(b)
	return b
}

func testPutGet(t *testing.T, s store) {
	before := time.Now().Add(-time.Minute)
	for _, body := range []string{"first", "second, which is longer", "3"} {
		put := s.mustPut("a/b/c.json", body)
		got, info, err := s.get("a/b/c.json", objstore.GetOptions{})
		if err != nil || got != body {
			t.Fatalf("Get = %q, %v, want %q", got, err, body)
		}
		if info.Key != put.Key || info.Size != put.Size || info.ETag != put.ETag {
			t.Errorf("Get returned %+v, Put %+v", info, put)
		}
		for _, when := range []time.Time{info.ModTime, put.ModTime} {
			if when.Before(before) || when.After(time.Now().Add(time.Minute)) {
				t.Errorf("ModTime %v is not about now", when)
			}
		}
	}
	one, other := s.mustPut("one", "body"), s.mustPut("one", "another body")
	if one.ETag == other.ETag {
		t.Errorf("different content has the same ETag %s", one.ETag)
	}
}

func testEmpty(t *testing.T, s store) {
	s.mustPut("empty", "")
	s.wantBody("empty", "")
	for _, opts := range []objstore.GetOptions{{Offset: 5}, {Length: 5}, {Offset: 1, Length: 1}} {
		if got, info, err := s.get("empty", opts); err != nil || got != "" || info.Size != 0 {
			t.Errorf("Get(%+v) = %q, %+v, %v, want an empty body", opts, got, info, err)
		}
	}
}

func testMissing(t *testing.T, s store) {
	s.wantMissing("nothing")
	s.wantMissing("no/thing/here")
	if _, _, err := s.get("nothing", objstore.GetOptions{Offset: 3, Length: 4}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a range of a missing object: %v, want fs.ErrNotExist", err)
	}
	s.mustPut("a/b", "x")
	s.wantMissing("a")
	s.wantMissing("a/b/c")
	if err := s.Delete(t.Context(), "nothing"); err != nil {
		t.Errorf("Delete of a missing object: %v", err)
	}
	if err := s.Delete(t.Context(), "a"); err != nil {
		t.Errorf("Delete of a folder's name: %v", err)
	}
	s.wantBody("a/b", "x")
}

func testConditions(t *testing.T, s store) {
	absent := objstore.PutOptions{IfAbsent: true}
	first, err := s.put("k", "1", absent)
	if err != nil {
		t.Fatalf("create: %v", err)
	}
	_, err = s.put("k", "2", absent)
	wantError(t, "create again", err, objstore.ErrPrecondition)
	_, err = s.put("k", "1", absent)
	wantError(t, "create again with equal content", err, objstore.ErrPrecondition)
	s.wantBody("k", "1")

	match := objstore.PutOptions{IfMatch: objstore.Matching(first.ETag)}
	second, err := s.put("k", "2", match)
	if err != nil {
		t.Fatalf("replace: %v", err)
	}
	_, err = s.put("k", "3", match)
	wantError(t, "replace with an old ETag", err, objstore.ErrPrecondition)
	s.wantBody("k", "2")

	_, err = s.put("never", "3", match)
	wantError(t, "replace what is not there", err, objstore.ErrPrecondition)
	s.wantMissing("never")

	if err := s.Delete(t.Context(), "k"); err != nil {
		t.Fatal(err)
	}
	_, err = s.put("k", "3", objstore.PutOptions{IfMatch: objstore.Matching(second.ETag)})
	wantError(t, "replace what was deleted", err, objstore.ErrPrecondition)
	if _, err = s.put("k", "4", absent); err != nil {
		t.Errorf("create what was deleted: %v", err)
	}
	_, err = s.put("k", "5", objstore.PutOptions{IfAbsent: true, IfMatch: objstore.Matching(first.ETag)})
	wantError(t, "both conditions", err, errors.ErrUnsupported)
	_, err = s.put("k", "6", objstore.PutOptions{IfMatch: objstore.Matching("")})
	wantError(t, "a condition without an ETag", err, objstore.ErrNoETag)
	_, err = s.put("never", "6", objstore.PutOptions{IfMatch: objstore.Matching("")})
	wantError(t, "a condition without an ETag, and nothing there", err, objstore.ErrNoETag)
	s.wantMissing("never")
	s.wantBody("k", "4")
}

func testRanges(t *testing.T, s store) {
	const body = "0123456789"
	put := s.mustPut("r", body)
	for _, c := range []struct {
		offset, length int64
		want           string
	}{
		{0, 0, body}, {0, 1, "0"}, {0, 10, body}, {0, 99, body}, {3, 4, "3456"}, {3, 0, "3456789"},
		{9, 1, "9"}, {9, 5, "9"}, {10, 0, ""}, {10, 1, ""}, {11, 0, ""}, {1 << 40, 7, ""},
	} {
		got, info, err := s.get("r", objstore.GetOptions{Offset: c.offset, Length: c.length})
		if err != nil || got != c.want {
			t.Errorf("Get(offset %d, length %d) = %q, %v, want %q", c.offset, c.length, got, err, c.want)
		}
		if info.Size != 10 || info.ETag != put.ETag || info.Key != "r" {
			t.Errorf("Get(offset %d, length %d) describes %+v, want the whole object", c.offset, c.length, info)
		}
	}
	for _, opts := range []objstore.GetOptions{{Offset: -1}, {Length: -1}} {
		_, _, err := s.get("r", opts)
		wantError(t, "a negative range", err, errors.ErrUnsupported)
	}
}

func testUnchanged(t *testing.T, s store) {
	first := s.mustPut("k", "1")
	if _, _, err := s.get("k", objstore.GetOptions{IfNoneMatch: first.ETag}); err != nil && !errors.Is(err, objstore.ErrNotModified) {
		t.Errorf("Get of an object that is the same as before: %v", err)
	}
	second := s.mustPut("k", "2")
	if body, info, err := s.get("k", objstore.GetOptions{IfNoneMatch: first.ETag}); err != nil || body != "2" || info.ETag != second.ETag {
		t.Errorf("Get of an object that was replaced: %q, %+v, %v", body, info, err)
	}
	_, _, err := s.get("other", objstore.GetOptions{IfNoneMatch: first.ETag})
	wantError(t, "nothing there", err, fs.ErrNotExist)
}

func testLarge(t *testing.T, s store) {
	// More than two parts of 8 MiB, and not a multiple of anything.
	body := noise(16<<20 + 12345)
	// Neither a Seeker nor a WriterTo: a store must take the stream as it comes.
	stream := func() io.Reader { return struct{ io.Reader }{bytes.NewReader(body)} }
	info, err := s.Put(t.Context(), "large", stream(), objstore.PutOptions{IfAbsent: true})
	if err != nil || info.Size != int64(len(body)) {
		t.Fatalf("Put = %+v, %v", info, err)
	}
	got, again, err := s.get("large", objstore.GetOptions{})
	if err != nil || !bytes.Equal([]byte(got), body) {
		t.Fatalf("Get: %v, equal %v", err, bytes.Equal([]byte(got), body))
	}
	if again.ETag != info.ETag {
		t.Errorf("Get says ETag %s, Put %s", again.ETag, info.ETag)
	}
	part, _, err := s.get("large", objstore.GetOptions{Offset: 8<<20 - 5, Length: 10})
	if err != nil || part != string(body[8<<20-5:8<<20+5]) {
		t.Errorf("a range over the edge of two parts: %x, %v", part, err)
	}
	_, err = s.Put(t.Context(), "large", stream(), objstore.PutOptions{IfAbsent: true})
	wantError(t, "create again", err, objstore.ErrPrecondition)
	_, err = s.Put(t.Context(), "large", stream(), objstore.PutOptions{IfMatch: objstore.Matching(s.mustPut("small", "x").ETag)})
	wantError(t, "replace with another ETag", err, objstore.ErrPrecondition)
	if _, err = s.Put(t.Context(), "large", stream(), objstore.PutOptions{IfMatch: objstore.Matching(info.ETag)}); err != nil {
		t.Errorf("replace: %v", err)
	}
}

func testBrokenBody(t *testing.T, s store) {
	broken := errors.New("the source is gone")
	s.mustPut("kept", "as it was")
	for _, size := range []int{0, 10, 9 << 20} { // the last fails within the second part
		for _, key := range []string{"kept", "new"} {
			body := io.MultiReader(bytes.NewReader(noise(size)), iotest.ErrReader(broken))
			_, err := s.Put(t.Context(), key, body, objstore.PutOptions{})
			wantError(t, "a body that fails", err, broken)
		}
	}
	s.wantBody("kept", "as it was")
	s.wantMissing("new")
}

func testDelete(t *testing.T, s store) {
	s.mustPut("d/e/f", "1")
	s.mustPut("d/g", "2")
	for range 2 {
		if err := s.Delete(t.Context(), "d/e/f"); err != nil {
			t.Fatal(err)
		}
		s.wantMissing("d/e/f")
	}
	s.wantBody("d/g", "2")
	s.wantKeys("", objstore.ListOptions{}, "d/g")
	s.wantKeys("d/", objstore.ListOptions{Folders: true}, "d/g")
	// A folder's name may become an object's, and back.
	s.mustPut("d/e", "3")
	s.wantBody("d/e", "3")
	if err := s.Delete(t.Context(), "d/e"); err != nil {
		t.Fatal(err)
	}
	s.mustPut("d/e/f", "4")
	s.wantBody("d/e/f", "4")
}
