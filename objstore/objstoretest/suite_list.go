package objstoretest

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/driftdb/driftdb-go/objstore"
)

// keys lists, and checks what every entry must satisfy.
func (s store) keys(prefix string, opts objstore.ListOptions) []string {
	s.t.Helper()
	var keys []string
	for info, err := range s.List(s.t.Context(), prefix, opts) {
		if err != nil {
			s.t.Fatalf("List(%q, %+v): %v", prefix, opts, err)
		}
		if strings.HasSuffix(info.Key, "/") && info != (objstore.Info{Key: info.Key}) {
			s.t.Fatalf("List(%q, %+v): the folder %+v has more than a key", prefix, opts, info)
		}
		keys = append(keys, info.Key)
	}
	return keys
}

func (s store) wantKeys(prefix string, opts objstore.ListOptions, want ...string) {
	s.t.Helper()
	if got := s.keys(prefix, opts); !slices.Equal(got, want) {
		s.t.Errorf("List(%q, %+v) =\n%q, want\n%q", prefix, opts, got, want)
	}
}

// listed returns what List must yield, by its definition.
func listed(keys []string, prefix string, opts objstore.ListOptions) []string {
	var out []string
	for _, key := range slices.Sorted(slices.Values(keys)) {
		if !strings.HasPrefix(key, prefix) {
			continue
		}
		if head, _, folded := strings.Cut(key[len(prefix):], "/"); folded && opts.Folders {
			key = prefix + head + "/"
		}
		if key > opts.StartAfter {
			out = append(out, key)
		}
	}
	return slices.Compact(out)
}

// tree contains the cases that a walk by file names gets wrong: the folder "b" comes
// before the file "b-c", but "b/a" comes after it.
var tree = []string{
	"a", "b-c", "b-c.d", "b/a-a/x", "b/a-b", "b/a/x", "b/a/y/z", "b/a0", "b/b/c/d/e", "b/c",
	"b0", "ba/a", "c/x y", "c/é", "d/1", "e",
}

func (s store) plantTree() {
	s.t.Helper()
	for i := range tree {
		s.mustPut(tree[(i*7)%len(tree)], "body") // 7 and 16 have no common factor
	}
}

func testList(t *testing.T, s store) {
	s.wantKeys("", objstore.ListOptions{})
	s.wantKeys("a/b", objstore.ListOptions{Folders: true})
	s.plantTree()
	for _, prefix := range []string{"", "a", "b", "b/", "b/a", "b/a/", "b-", "c/x", "c/x y", "e", "e/", "nothing/here", "../", "/", "//"} {
		s.wantKeys(prefix, objstore.ListOptions{}, listed(tree, prefix, objstore.ListOptions{})...)
	}
	put := s.mustPut("b/c", "the newest body")
	for info, err := range s.List(t.Context(), "b/c", objstore.ListOptions{}) {
		if err != nil {
			t.Fatal(err)
		}
		if info.Size != put.Size || info.ETag != "" && info.ETag != put.ETag || info.ModTime.IsZero() {
			t.Errorf("List yields %+v after a Put that returned %+v", info, put)
		}
	}
}

func testListStartAfter(t *testing.T, s store) {
	s.plantTree()
	starts := append([]string{"0", "aa", "b", "b-", "b/", "b/a", "b/a/", "b/a/zzz", "b/zzz", "b1", "c/", "z"}, tree...)
	for _, prefix := range []string{"", "b", "b/"} {
		for _, start := range starts {
			opts := objstore.ListOptions{StartAfter: start}
			s.wantKeys(prefix, opts, listed(tree, prefix, opts)...)
		}
	}
}

func testListFolders(t *testing.T, s store) {
	s.plantTree()
	for _, prefix := range []string{"", "b", "b/", "b/a", "b/a/", "c/", "d/1", "none/"} {
		for _, start := range []string{"", "b", "b-c", "b/", "b/a/", "b/a/x", "b0", "z"} {
			opts := objstore.ListOptions{Folders: true, StartAfter: start}
			s.wantKeys(prefix, opts, listed(tree, prefix, opts)...)
		}
	}
	for _, key := range []string{"b/a/x", "b/a/y/z"} {
		if err := s.Delete(t.Context(), key); err != nil {
			t.Fatal(err)
		}
	}
	left := slices.DeleteFunc(slices.Clone(tree), func(k string) bool { return strings.HasPrefix(k, "b/a/") })
	opts := objstore.ListOptions{Folders: true}
	s.wantKeys("b/", opts, listed(left, "b/", opts)...)
}

func testListMany(t *testing.T, s store) {
	// More than one page of any store: S3's limit is 1000.
	var keys []string
	for i := range 1050 {
		keys = append(keys, fmt.Sprintf("many/%02d/%04d", i%3, i))
	}
	var g errgroup.Group
	g.SetLimit(16)
	for _, key := range keys {
		g.Go(func() error {
			_, err := s.put(key, "x", objstore.PutOptions{})
			return err
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	for _, opts := range []objstore.ListOptions{{}, {StartAfter: "many/01/0500"}, {Folders: true}} {
		s.wantKeys("many/", opts, listed(keys, "many/", opts)...)
	}
}

func testListBreak(t *testing.T, s store) {
	s.plantTree()
	for n := range 3 {
		var got []string
		for info, err := range s.List(t.Context(), "", objstore.ListOptions{}) {
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, info.Key)
			if len(got) > n {
				break
			}
		}
		if want := slices.Sorted(slices.Values(tree))[:n+1]; !slices.Equal(got, want) {
			t.Errorf("the first %d keys are %q, want %q", n+1, got, want)
		}
	}
}
