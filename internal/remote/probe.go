package remote

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"sync"

	"github.com/driftdb/driftdb-go/objstore"
)

// ErrConditions means that a store does not honour the conditions of a Put, on which
// fencing of a second writer depends.
var ErrConditions = errors.New("the store does not honour conditional writes (If-Match and If-None-Match), so two writers could overwrite each other's data; use another service, or set AdvisoryFencing if there is only ever one writer")

// noETag is an ETag that no object has.
const noETag = `"00000000000000000000000000000000"`

// racers is how many Puts are made at once to check that only one of them wins.
const racers = 4

// Probe checks whether the store honours conditions: for an object, for a multipart
// upload, and for several Puts at the same moment. Some services reject conditions.
// Others silently ignore them, or check them and then write, which leaves time for
// another writer in between.
//
// Finally, Probe stores an object of the node's own. If that object already exists, an
// earlier probe has passed; two requests then suffice to check that the store still
// refuses a failing condition. The object names the database: if the manifest is lost,
// this tells for which database the other objects are sealed.
func (b *Bucket) Probe(ctx context.Context, node, databaseID string) error {
	p := probe{b.store, nodeFolder(b.name, node) + "probe", databaseID}
	known, err := p.known(ctx)
	if err == nil && !known {
		err = p.all(ctx)
	}
	if err != nil && !errors.Is(err, ErrConditions) {
		err = fmt.Errorf("probe the store: %w", err)
	}
	return err
}

type probe struct {
	store objstore.Store
	key   string
	id    string // of the database
}

// namesDatabase begins the line of a probe object that names its database.
const namesDatabase = "database "

// probed is the id of the database that the probe object at key names. Older probe
// objects name none.
func (b *Bucket) probed(ctx context.Context, key string) (id string, err error) {
	body, _, err := b.store.Get(ctx, key, objstore.GetOptions{})
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	text, err := io.ReadAll(io.LimitReader(body, 1<<10))
	for line := range strings.Lines(string(text)) {
		if name, ok := strings.CutPrefix(strings.TrimSpace(line), namesDatabase); ok {
			id = name
		}
	}
	return id, errors.Join(err, body.Close())
}

// known reports whether an earlier probe passed. It fails if the store no longer honours
// conditions.
func (p probe) known(ctx context.Context) (bool, error) {
	if err := p.refuses(p.put(ctx, p.key, "", objstore.PutOptions{IfMatch: objstore.Matching(noETag)})); err != nil {
		return false, err
	}
	body, _, err := p.store.Get(ctx, p.key, objstore.GetOptions{})
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, body.Close()
}

// errNobody means that a race had no winner. That proves nothing: a store may refuse all
// concurrent writers, as S3 does with 409, and more than one answer may be lost.
var errNobody = errors.New("of several concurrent writes none succeeded")

// all runs every test, up to three times while races have no winner.
func (p probe) all(ctx context.Context) (err error) {
	for tries := 3; tries > 0; tries-- {
		if err = p.once(ctx); !errors.Is(err, errNobody) {
			break
		}
	}
	return err
}

// once runs every test, and then stores the node's own object.
func (p probe) once(ctx context.Context) (err error) {
	if err := p.trial(ctx, p.key+"-"+rand.Text()); err != nil {
		return err
	}
	err = p.put(ctx, p.key, namesDatabase+p.id+"\n", objstore.PutOptions{IfAbsent: true})
	if errors.Is(err, objstore.ErrPrecondition) {
		err = nil // another process of this node was faster, or an answer was lost
	}
	return err
}

// trial runs every test on the object under key, which it deletes afterwards.
func (p probe) trial(ctx context.Context, key string) (err error) {
	defer func() {
		if derr := p.store.Delete(ctx, key); err == nil && !errors.Is(derr, fs.ErrPermission) { // if deleting is not permitted, the object stays
			err = derr
		}
	}()
	if err := p.race(ctx, key, objstore.PutOptions{IfAbsent: true}); err != nil {
		return err
	}
	body, info, err := p.store.Get(ctx, key, objstore.GetOptions{})
	if err != nil {
		return err
	}
	if err := body.Close(); err != nil {
		return err
	}
	if err := p.race(ctx, key, objstore.PutOptions{IfMatch: objstore.Matching(info.ETag)}); err != nil {
		return err
	}
	for _, opts := range []objstore.PutOptions{
		{IfAbsent: true},
		{IfAbsent: true, InParts: true},
		{IfMatch: objstore.Matching(noETag), InParts: true},
	} {
		if err := p.refuses(p.put(ctx, key, "", opts)); err != nil {
			return err
		}
	}
	return nil
}

// doctorNode is the node in whose folder a diagnosis keeps its probe objects. No writer has this
// id: they have twelve hex digits, or what a configuration gives them.
const doctorNode = "doctor"

// TrialKey returns a new key for an object with which the rights on the bucket are tried.
func (b *Bucket) TrialKey() string {
	return nodeFolder(b.name, doctorNode) + "probe-" + rand.Text()
}

// Trial runs the tests of Probe on the object under key, a new one of TrialKey, and leaves
// nothing behind if it may delete.
func (b *Bucket) Trial(ctx context.Context, key string) (err error) {
	p := probe{store: b.store, key: key}
	for tries := 3; tries > 0; tries-- {
		if err = p.trial(ctx, key); !errors.Is(err, errNobody) {
			break
		}
	}
	return err
}

// race makes several Puts at once, of which exactly one must win.
func (p probe) race(ctx context.Context, key string, opts objstore.PutOptions) error {
	var who [racers]string
	var errs [racers]error
	var wg sync.WaitGroup
	for i := range errs {
		who[i] = rand.Text() // equal contents would have equal ETags
		wg.Go(func() { errs[i] = p.put(ctx, key, who[i], opts) })
	}
	wg.Wait()
	won := 0
	var failed error
	for _, err := range errs {
		switch {
		case err == nil:
			won++
		case errors.Is(err, errors.ErrUnsupported):
			return p.refuses(err)
		case !errors.Is(err, objstore.ErrPrecondition):
			failed = errors.Join(failed, err)
		}
	}
	switch {
	case won > 1:
		return fmt.Errorf("%w: of %d concurrent writes, only one of which should succeed, %d did", ErrConditions, racers, won)
	case failed != nil:
		return failed
	case won == 0:
		return p.wonBy(ctx, key, who[:])
	}
	return nil
}

// wonBy returns nil if one of the racers has won although its answer was lost, and
// errNobody if none has.
func (p probe) wonBy(ctx context.Context, key string, who []string) error {
	body, _, err := p.store.Get(ctx, key, objstore.GetOptions{})
	if err != nil {
		return err
	}
	text, err := io.ReadAll(io.LimitReader(body, 1<<10))
	if err = errors.Join(err, body.Close()); err != nil {
		return err
	}
	for _, w := range who {
		if strings.HasSuffix(string(text), w) {
			return nil
		}
	}
	return errNobody
}

func (p probe) put(ctx context.Context, key, who string, opts objstore.PutOptions) error {
	text := "DriftDB looks whether this object can be overwritten.\n" + who
	_, err := p.store.Put(ctx, key, strings.NewReader(text), opts)
	return err
}

// refuses returns nil if err means that a condition did not hold.
func (p probe) refuses(err error) error {
	switch {
	case errors.Is(err, objstore.ErrPrecondition):
		return nil
	case err == nil:
		return ErrConditions
	case errors.Is(err, errors.ErrUnsupported):
		return fmt.Errorf("%w: %w", ErrConditions, err)
	}
	return err
}
