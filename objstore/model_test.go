package objstore_test

import (
	"errors"
	"io/fs"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/driftdb/driftdb-go/objstore"
)

// Whatever is done to a folder and to memory, both answer alike.
func TestDirLikeMem(t *testing.T) {
	keys := []string{"a", "b-c", "b/a", "b/a-", "b/c/d", "b/c/e/f", "b0", "c.d/e", "c/d"}
	starts := append([]string{"", "b", "b/", "b/c", "b/c/", "z"}, keys...)
	bodies := []string{"", "x", "y", "a longer body"}
	rapid.Check(t, func(rt *rapid.T) {
		folder := openDir(t)
		memory := objstore.Mem()
		etag := map[string]string{}
		rt.Repeat(map[string]func(*rapid.T){
			"put": func(rt *rapid.T) {
				key, body := rapid.SampledFrom(keys).Draw(rt, "key"), rapid.SampledFrom(bodies).Draw(rt, "body")
				opts := objstore.PutOptions{IfAbsent: rapid.Bool().Draw(rt, "absent")}
				if !opts.IfAbsent && rapid.Bool().Draw(rt, "match") {
					opts.IfMatch = objstore.Matching(etag[rapid.SampledFrom(keys).Draw(rt, "etag of")])
				}
				got, err := folder.Put(t.Context(), key, strings.NewReader(body), opts)
				want, wantErr := memory.Put(t.Context(), key, strings.NewReader(body), opts)
				alike(rt, got, want, err, wantErr)
				if err == nil {
					etag[key] = got.ETag
				}
			},
			"delete": func(rt *rapid.T) {
				key := rapid.SampledFrom(keys).Draw(rt, "key")
				alike(rt, objstore.Info{}, objstore.Info{}, folder.Delete(t.Context(), key), memory.Delete(t.Context(), key))
			},
			"get": func(rt *rapid.T) {
				key := rapid.SampledFrom(starts[1:]).Draw(rt, "key")
				r, got, err := folder.Get(t.Context(), key, objstore.GetOptions{})
				if err == nil {
					err = r.Close()
				}
				_, want, wantErr := memory.Get(t.Context(), key, objstore.GetOptions{})
				alike(rt, got, want, err, wantErr)
			},
			"list": func(rt *rapid.T) {
				prefix := rapid.SampledFrom(starts).Draw(rt, "prefix")
				opts := objstore.ListOptions{
					StartAfter: rapid.SampledFrom(starts).Draw(rt, "start after"),
					Folders:    rapid.Bool().Draw(rt, "folders"),
				}
				if got, want := names(rt, folder, prefix, opts), names(rt, memory, prefix, opts); !slices.Equal(got, want) {
					rt.Fatalf("List(%q, %+v) = %q, want %q", prefix, opts, got, want)
				}
			},
		})
	})
}

func names(rt *rapid.T, s objstore.Store, prefix string, opts objstore.ListOptions) (keys []string) {
	for info, err := range s.List(rt.Context(), prefix, opts) {
		if err != nil {
			rt.Fatal(err)
		}
		keys = append(keys, info.Key)
	}
	return keys
}

func alike(rt *rapid.T, got, want objstore.Info, err, wantErr error) {
	for _, kind := range []error{nil, fs.ErrNotExist, objstore.ErrPrecondition, objstore.ErrInvalidKey} {
		if (err == nil) != (wantErr == nil) || kind != nil && errors.Is(err, kind) != errors.Is(wantErr, kind) {
			rt.Fatalf("error %v, want %v", err, wantErr)
		}
	}
	if got.Key != want.Key || got.Size != want.Size || got.ETag != want.ETag {
		rt.Fatalf("got %+v, want %+v", got, want)
	}
}
