package systemtest

import (
	"bytes"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"

	"github.com/driftdb/driftdb-go/objstore"
)

// Bucket is the contents of a store: keys and bodies.
type Bucket map[string][]byte

// BucketOf returns the contents of a store.
func BucketOf(t testing.TB, store objstore.Store) Bucket {
	t.Helper()
	all := Bucket{}
	for _, key := range Keys(t, store) {
		body, _, err := store.Get(t.Context(), key, objstore.GetOptions{})
		Check(t, err)
		all[key], err = io.ReadAll(body)
		Check(t, errors.Join(err, body.Close()))
	}
	return all
}

// Store returns a store in memory with the contents of b.
func (b Bucket) Store(t testing.TB) objstore.Store {
	t.Helper()
	store := objstore.Mem()
	for key, data := range b {
		_, err := store.Put(t.Context(), key, bytes.NewReader(data), objstore.PutOptions{})
		Check(t, err)
	}
	return store
}

// Read returns the content of an object.
func Read(t testing.TB, store objstore.Store, key string) []byte {
	t.Helper()
	body, _, err := store.Get(t.Context(), key, objstore.GetOptions{})
	Check(t, err)
	data, err := io.ReadAll(body)
	Check(t, errors.Join(err, body.Close()))
	return data
}

// Keys returns the keys of all objects in a store.
func Keys(t testing.TB, store objstore.Store) []string {
	t.Helper()
	var out []string
	for info, err := range store.List(t.Context(), "", objstore.ListOptions{}) {
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, info.Key)
	}
	return out
}

// TheManifest is the key of the manifest of the database "app".
const TheManifest = "databases/app/manifest.json"

// Batches returns the keys of the batches in a store.
func Batches(t testing.TB, store objstore.Store) []string {
	return slices.DeleteFunc(Keys(t, store), func(k string) bool { return !strings.Contains(k, "/logs/") })
}
