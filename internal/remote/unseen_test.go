package remote

import (
	"errors"
	"testing"

	"github.com/driftdb/driftdb-go/internal/seal"
	"github.com/driftdb/driftdb-go/internal/wrap"
	"github.com/driftdb/driftdb-go/objstore"
	"github.com/driftdb/driftdb-go/objstore/objstoretest"
)

// A manifest whose ETag is not known is not replaced: nothing is sent, whatever the
// store makes of a condition without one, and waiting does not help.
func TestSwapUnseen(t *testing.T) {
	m := &Manifest{Name: "app", DatabaseID: "db"}
	m.Takeover("node", Position{})
	for name, wrap := range map[string]func(objstore.Store) objstore.Store{
		"fenced": func(s objstore.Store) objstore.Store { return s }, "advisory": wrap.Advisory,
	} {
		t.Run(name, func(t *testing.T) {
			store := objstoretest.Count(objstore.Mem())
			_, err := New(wrap(store), "app", seal.Options{}).Swap(t.Context(), Stored{Manifest: m}, m)
			if !errors.Is(err, objstore.ErrNoETag) || errors.Is(err, ErrLost) || store.Calls() != 0 {
				t.Errorf("%v, after %d requests", err, store.Calls())
			}
			_, err = wrap(store).Put(t.Context(), "k", nil, objstore.PutOptions{IfMatch: objstore.Matching("")})
			if !errors.Is(err, objstore.ErrNoETag) {
				t.Errorf("put: %v", err)
			}
		})
	}
}
