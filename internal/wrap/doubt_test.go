package wrap

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/driftdb/driftdb-go/objstore"
	"github.com/driftdb/driftdb-go/objstore/objstoretest"
)

// liar says that it has stored what it has not.
type liar struct {
	objstore.Store
	info objstore.Info // what it says
	lies bool
}

func (l *liar) Put(ctx context.Context, key string, body io.Reader, opts objstore.PutOptions) (objstore.Info, error) {
	if !l.lies {
		return l.Store.Put(ctx, key, body, opts)
	}
	l.info.Key = key
	return l.info, nil
}

func putAbsent(t *testing.T, s objstore.Store, key string) error {
	_, err := s.Put(t.Context(), key, strings.NewReader("body"), objstore.PutOptions{IfAbsent: true})
	return err
}

// TestDoubt: what is said to be stored after a failure, or after a long silence, is
// looked at, and only then.
func TestDoubt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		counting := objstoretest.Count(objstore.Mem())
		inner := &liar{Store: counting, info: objstore.Info{Size: 4, ETag: `"e"`}}
		s := Doubting(inner)
		wantGets := func(when string, n int) {
			t.Helper()
			if got := counting.Tally(objstoretest.Get).Calls; got != n {
				t.Errorf("%s: %d objects were looked at, want %d", when, got, n)
			}
		}
		for _, key := range []string{"a", "b"} {
			if err := putAbsent(t, s, key); err != nil {
				t.Fatal(err)
			}
		}
		wantGets("at first", 1)
		time.Sleep(silence + time.Second)
		if err := putAbsent(t, s, "c"); err != nil {
			t.Fatal(err)
		}
		wantGets("after silence", 2)
		time.Sleep(silence + time.Second)
		inner.lies = true
		if err := putAbsent(t, s, "d"); err == nil || errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the store has not stored it: %v", err)
		}
		if err := putAbsent(t, s, "d"); err == nil {
			t.Error("the store has not stored it, again")
		}
		inner.lies = false
		if err := putAbsent(t, s, "d"); err != nil {
			t.Fatal(err)
		}
		wantGets("after a failure", 5)
		if err := putAbsent(t, s, "d"); !errors.Is(err, objstore.ErrPrecondition) {
			t.Fatal(err)
		}
		if err := putAbsent(t, s, "e"); err != nil {
			t.Fatal(err)
		}
		wantGets("after a condition that did not hold", 5)
		inner.lies, inner.info.ETag = true, ""
		if err := putAbsent(t, s, "f"); err == nil {
			t.Error("the store returned no ETag")
		}
	})
}

// TestDoubtOther: the store has another object than it said.
func TestDoubtOther(t *testing.T) {
	inner := &liar{Store: objstore.Mem(), info: objstore.Info{Size: 4, ETag: `"e"`}, lies: true}
	if _, err := inner.Store.Put(t.Context(), "k", strings.NewReader("theirs"), objstore.PutOptions{}); err != nil {
		t.Fatal(err)
	}
	if err := putAbsent(t, Doubting(inner), "k"); err == nil {
		t.Error("it has another one")
	}
}
