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
	// errOther means that an object is damaged or is not a batch of this history.
	// Another object may hold the same entries.
	errOther = errors.New("not usable")
	// errApart means that a batch belongs to another history. It is wrapped together
	// with errOther.
	errApart = errors.New("does not continue the chain")
	// errUnread means that the store did not provide the object.
	errUnread = errors.New("cannot be read")
)

// Refusal is an object that is named like part of the history but is unusable.
type Refusal struct {
	Key string
	Why error
}

// Locked reports whether another key or a newer program may be able to open the object.
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

// Warn logs the objects that a reader has ignored.
func Warn(log event.Log, refused []Refusal) {
	if len(refused) > 0 {
		log.Warn(event.ObjectsRefused, "objects in the bucket are named like parts of the backup but are not; they were ignored",
			"count", len(refused), "first", refused[0].Key, "error", refused[0].Why)
	}
}

// about adds the object's key to err. Errors from reading an object already have the key;
// errors about its contents do not.
func about(key string, err error) error {
	if strings.Contains(err.Error(), key) {
		return err
	}
	return fmt.Errorf("%s: %w", key, err)
}

// Keys returns the keys of the refused objects.
func Keys(refused []Refusal) []string {
	var keys []string
	for _, r := range refused {
		keys = append(keys, r.Key)
	}
	return keys
}

// refuse discards o, at the walk's position, for good. If o does not continue the history
// here, it never will: the chain at any later position commits to the chain here.
func (w *walk) refuse(o Batch, why error) {
	if w.refused[o] {
		return
	}
	w.refused[o] = true
	w.ahead.forget(o)
	w.refusals = append(w.refusals, Refusal{w.b.key(o), why})
}

// broken returns the error for a history that has a gap, which what describes.
func (w *walk) broken(what string) error {
	err := fmt.Errorf("%w: %s", ErrCorrupt, what)
	const most = 3 // a few tell what is wrong; there may be thousands
	for i, r := range w.refusals {
		if i == most {
			return fmt.Errorf("%w; and %d more objects are refused", err, len(w.refusals)-most)
		}
		err = fmt.Errorf("%w; %w", err, r.Why)
	}
	return err
}
