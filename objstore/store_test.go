package objstore_test

import (
	"testing"

	"github.com/driftdb/driftdb-go/objstore"
	"github.com/driftdb/driftdb-go/objstore/objstoretest"
)

func openDir(t *testing.T) objstore.Store {
	s, err := objstore.Dir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestDir(t *testing.T) { objstoretest.Run(t, openDir) }

func TestMem(t *testing.T) {
	objstoretest.Run(t, func(*testing.T) objstore.Store { return objstore.Mem() })
}
