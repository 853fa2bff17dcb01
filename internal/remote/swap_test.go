package remote

import (
	"bytes"
	"errors"
	"testing"

	"github.com/driftdb/driftdb-go/internal/retry"
	"github.com/driftdb/driftdb-go/internal/seal"
	"github.com/driftdb/driftdb-go/internal/wrap"
	"github.com/driftdb/driftdb-go/objstore"
	"github.com/driftdb/driftdb-go/objstore/objstoretest"
)

// breaking lets the calls of the world's bucket go wrong from now on.
func (w *world) breaking(hook objstoretest.Hook) *Bucket {
	return New(objstoretest.Break(w.store, hook), "app", seal.Options{})
}

// answers gives the nth call the nth fault.
func answers(faults ...objstoretest.Fault) objstoretest.Hook {
	return func(c objstoretest.Call) objstoretest.Fault {
		if c.N <= len(faults) {
			return faults[c.N-1]
		}
		return objstoretest.Fault{}
	}
}

// TestSwapUndecided: a swap whose answer is lost, and that of the look that
// follows as well, is this writer's own when it is settled, whether it took
// effect or not.
func TestSwapUndecided(t *testing.T) {
	ctx := t.Context()
	for _, kind := range []objstoretest.Kind{objstoretest.Lose, objstoretest.Fail} {
		w := newWorld(t)
		first, err := w.b.Swap(ctx, Stored{}, w.manifest("", Span{"n", 1, 1, 0}))
		if err != nil {
			t.Fatal(err)
		}
		bad := w.breaking(answers(objstoretest.Fault{Kind: kind}, objstoretest.Fault{Kind: objstoretest.Fail}))
		open, err := bad.Swap(ctx, first, first.Clone())
		if !errors.Is(err, objstoretest.ErrInjected) || errors.Is(err, ErrLost) {
			t.Fatalf("kind %d: %v", kind, err)
		}
		now, err := w.b.Settle(ctx, open)
		if err != nil {
			t.Fatalf("kind %d: settle: %v", kind, err)
		}
		if took := now.Nonce != first.Nonce; took != (kind == objstoretest.Lose) {
			t.Errorf("kind %d: the swap took effect: %v", kind, took)
		}
		if _, err := w.b.Swap(ctx, now, now.Clone()); err != nil {
			t.Errorf("kind %d: the next swap: %v", kind, err)
		}
		if _, err := w.b.Settle(ctx, open); !errors.Is(err, ErrLost) {
			t.Errorf("kind %d: settled although somebody else has swapped: %v", kind, err)
		}
	}
}

// TestSwapRefusedForNothing: a store that says that the condition does not
// hold, while it does, makes nobody lose.
func TestSwapRefusedForNothing(t *testing.T) {
	ctx := t.Context()
	w := newWorld(t)
	refused := answers(objstoretest.Fault{Kind: objstoretest.Fail, Err: objstoretest.Status(412)})
	m := w.manifest("", Span{"n", 1, 1, 0})
	if _, err := w.breaking(refused).Swap(ctx, Stored{}, m); err == nil || errors.Is(err, ErrLost) {
		t.Errorf("the first manifest: %v", err)
	}
	first, err := w.b.Swap(ctx, Stored{}, m)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.breaking(refused).Swap(ctx, first, m); err == nil || errors.Is(err, ErrLost) {
		t.Errorf("another one: %v", err)
	}
}

// TestSwapGone: a manifest that has vanished is nobody else's doing, whichever way
// the store answers; one that comes back as it was is gone on from.
func TestSwapGone(t *testing.T) {
	ctx := t.Context()
	w := newWorld(t)
	first, err := w.b.Swap(ctx, Stored{}, w.manifest("", Span{"n", 1, 1, 0}))
	if err != nil {
		t.Fatal(err)
	}
	for _, answer := range []error{nil, objstoretest.Status(404), objstoretest.Status(412)} {
		if err := w.store.Delete(ctx, manifestKey("app")); err != nil {
			t.Fatal(err)
		}
		hook := answers()
		if answer != nil {
			hook = answers(objstoretest.Fault{Kind: objstoretest.Fail, Err: answer})
		}
		open, err := w.breaking(hook).Swap(ctx, first, first.Clone())
		if !errors.Is(err, ErrGone) || errors.Is(err, ErrLost) {
			t.Fatalf("answer %v: swap: %v", answer, err)
		}
		if _, err := w.b.Settle(ctx, open); !errors.Is(err, ErrGone) || errors.Is(err, ErrLost) {
			t.Errorf("answer %v: settle: %v", answer, err)
		}
		if _, err := w.store.Put(ctx, manifestKey("app"), bytes.NewReader(first.raw), objstore.PutOptions{}); err != nil {
			t.Fatal(err)
		}
		if first, err = w.b.Settle(ctx, open); err != nil {
			t.Fatalf("answer %v: settle what came back: %v", answer, err)
		}
		if first, err = w.b.Swap(ctx, first, first.Clone()); err != nil {
			t.Errorf("answer %v: the next swap: %v", answer, err)
		}
	}
}

// TestPutBatchMisread: what is altered on its way here is not somebody else's.
func TestPutBatchMisread(t *testing.T) {
	ctx := t.Context()
	w := newWorld(t)
	w.put("n", 1, "abc", 1)
	name := Batch{NodeID: "n", From: 1, To: 3, Epoch: 1}
	sealed := w.object(BatchKey("app", name))
	for at := range int64(len(sealed)) {
		bad := w.breaking(answers(objstoretest.Fault{}, objstoretest.Fault{Kind: objstoretest.Flip, At: at}))
		if err := bad.PutBatch(ctx, testID, name, sealed); err != nil {
			t.Fatalf("byte %d: %v", at, err)
		}
	}
	gone := w.breaking(answers(objstoretest.Fault{Kind: objstoretest.Fail, Err: objstoretest.Status(412)}, objstoretest.Fault{Kind: objstoretest.Fail, Err: objstoretest.Status(404)}))
	if err := gone.PutBatch(ctx, testID, name, sealed); err == nil || errors.Is(err, ErrLost) {
		t.Errorf("a name that is taken by nothing: %v", err)
	}
}

// TestManifestReplacedMidway: a reader whose connection breaks while a writer
// replaces the manifest gets the new one.
func TestManifestReplacedMidway(t *testing.T) {
	ctx := t.Context()
	w := newWorld(t)
	first, err := w.b.Swap(ctx, Stored{}, w.manifest("", Span{"n", 1, 1, 0}))
	if err != nil {
		t.Fatal(err)
	}
	var second Stored
	broken := objstoretest.Break(w.store, func(c objstoretest.Call) objstoretest.Fault {
		switch c.N {
		case 1:
			return objstoretest.Fault{Kind: objstoretest.Cut, At: 10}
		case 2:
			if second, err = w.b.Swap(ctx, first, first.Clone()); err != nil {
				t.Error(err)
			}
		}
		return objstoretest.Fault{}
	})
	b := New(wrap.Retry(broken, retry.Policy{MaxRetries: 1}), "app", seal.Options{})
	if m, err := b.Manifest(ctx); err != nil || m.Nonce != second.Nonce {
		t.Errorf("%+v, %v", m, err)
	}
}
