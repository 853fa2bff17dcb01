package remote

import (
	"errors"
	"fmt"
	"strings"

	"github.com/driftdb/driftdb-go/internal/batch"
	"github.com/driftdb/driftdb-go/internal/event"
	"github.com/driftdb/driftdb-go/internal/seal"
)

var (
	// errOther says that an object is not a batch of this history, or is damaged:
	// another one may hold the same entries.
	errOther = errors.New("not usable")
	// errApart is the former of the two: the batch belongs to another history.
	errApart = errors.New("does not continue the chain")
	// errUnread says that the store did not give the object.
	errUnread = errors.New("cannot be read")
)

// Refusal is an object that is named like a part of the history and cannot be used.
type Refusal struct {
	Key string
	Why error
}

// Locked says that the object may be whole: another key, or a newer program, may open it.
func (r Refusal) Locked() bool {
	for _, is := range []error{seal.ErrKey, seal.ErrVersion, batch.ErrVersion, ErrVersion} {
		if errors.Is(r.Why, is) {
			return true
		}
	}
	return false
}

// Err is the error for a reader that needs the object: damage, unless a key is missing.
func (r Refusal) Err() error {
	if errors.Is(r.Why, seal.ErrKey) {
		return r.Why
	}
	return fmt.Errorf("%w: %w", ErrCorrupt, r.Why)
}

// Warn tells log of objects that a reader has passed over.
func Warn(log event.Log, refused []Refusal) {
	if len(refused) > 0 {
		log.Warn(event.ObjectsRefused, "objects in the bucket are named like parts of the backup but are not; they were ignored",
			"count", len(refused), "first", refused[0].Key, "error", refused[0].Why)
	}
}

// about is err with the key of the object that it is about. Errors of what reads an
// object know its key, those of what looks at its contents do not.
func about(key string, err error) error {
	if strings.Contains(err.Error(), key) {
		return err
	}
	return fmt.Errorf("%s: %w", key, err)
}

// Keys are those of refused objects.
func Keys(refused []Refusal) []string {
	var keys []string
	for _, r := range refused {
		keys = append(keys, r.Key)
	}
	return keys
}

// refuse passes over o, where the walk is, for good. That it does not continue the
// history here means that it never will: the chain at a later position commits to the
// one at this.
func (w *walk) refuse(o Batch, why error) {
	if w.refused[o] {
		return
	}
	w.refused[o] = true
	w.ahead.forget(o)
	w.refusals = append(w.refusals, Refusal{BatchKey(w.b.name, o), why})
}

// broken is the error of a history that ends before the manifest's head.
func (w *walk) broken(s Span) error {
	err := fmt.Errorf("%w: no batch of node %s, epoch %d continues after sequence %d", ErrCorrupt, s.NodeID, s.Epoch, w.pos.Sequence)
	const most = 3 // one says what is wrong; there may be thousands
	for i, r := range w.refusals {
		if i == most {
			return fmt.Errorf("%w; and %d more objects are refused", err, len(w.refusals)-most)
		}
		err = fmt.Errorf("%w; %w", err, r.Why)
	}
	return err
}
