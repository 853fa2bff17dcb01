package doctor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"time"

	"github.com/driftdb/driftdb-go/internal/remote"
	"github.com/driftdb/driftdb-go/objstore"
)

const tryText = "driftdb doctor looks whether it may store an object here. It can be deleted.\n"

// strangeETag is an ETag that no object has.
const strangeETag = `"00000000000000000000000000000000"`

// refused is the finding of a right that a request did not show to be there.
func refused(err error) Finding { return failed(err.Error(), remedyOf(err)) }

func (p *patient) list(ctx context.Context) Finding {
	n := int64(0)
	for _, err := range p.cfg.Store.List(ctx, anything+p.dbName+"/", objstore.ListOptions{Folders: true}) {
		if err != nil {
			return refused(err)
		}
		n++
	}
	return okay("LIST is allowed")
}

func (p *patient) put(ctx context.Context) Finding {
	if p.cfg.ReadOnly {
		p.lack("it needs an object that is stored for it", aTrial)
		return notTried("it would store an object")
	}
	key := p.bucket.TrialKey()
	began := time.Now()
	info, err := p.cfg.Store.Put(ctx, key, strings.NewReader(tryText), objstore.PutOptions{})
	if !errors.Is(err, fs.ErrPermission) && !errors.Is(err, objstore.ErrUnreachable) {
		p.left[key] = true // after any other error it may be there
	}
	if err != nil {
		return refused(err)
	}
	if !p.visited {
		p.hear(info.ModTime.Truncate(time.Second), began, time.Now())
	}
	p.trialKey, p.trialETag = key, info.ETag
	p.has(aTrial)
	return okay("PUT is allowed (tried with " + key + ")")
}

func (p *patient) get(ctx context.Context) Finding {
	body, info, err := p.cfg.Store.Get(ctx, p.trialKey, objstore.GetOptions{})
	if err != nil {
		return refused(err)
	}
	text, err := io.ReadAll(io.LimitReader(body, 1<<10))
	if err = errors.Join(err, body.Close()); err != nil {
		return refused(err)
	}
	if string(text) != tryText || info.ETag != p.trialETag {
		return failed("GET returns something else than what was just stored", "a proxy or a cache answers in the store's place; ask the store directly")
	}
	return okay("GET is allowed, and returns what was stored")
}

func (p *patient) head(ctx context.Context) Finding {
	// Past the end there is nothing to get, and the store is asked with HEAD how large the
	// object is.
	body, info, err := p.cfg.Store.Get(ctx, p.trialKey, objstore.GetOptions{Offset: int64(len(tryText))})
	if err != nil {
		return refused(err)
	}
	if err := body.Close(); err != nil {
		return refused(err)
	}
	if info.Size != int64(len(tryText)) {
		return failed(fmt.Sprintf("HEAD says that the object has %d bytes, and it has %d", info.Size, len(tryText)), "a proxy or a cache answers in the store's place; ask the store directly")
	}
	return okay("HEAD is allowed")
}

// conditional tries a Put whose condition does not hold.
func (p *patient) conditional(ctx context.Context, header string, opts objstore.PutOptions) Finding {
	_, err := p.cfg.Store.Put(ctx, p.trialKey, strings.NewReader(tryText+header), opts)
	switch {
	case errors.Is(err, objstore.ErrPrecondition):
		return okay("a PUT whose " + header + " does not hold is refused")
	case err == nil:
		return failed("the store ignores "+header+": two writers could overwrite each other's data", otherService)
	case errors.Is(err, errors.ErrUnsupported):
		return failed("the store does not know "+header+": "+err.Error(), otherService)
	}
	return refused(err)
}

const otherService = "use a service that honours conditions (docs/PROVIDERS.md), or set AdvisoryFencing if there is only ever one writer; if a proxy drops the header, go around it"

func (p *patient) putIfAbsent(ctx context.Context) Finding {
	return p.conditional(ctx, "If-None-Match", objstore.PutOptions{IfAbsent: true})
}

func (p *patient) putIfMatch(ctx context.Context) Finding {
	return p.conditional(ctx, "If-Match", objstore.PutOptions{IfMatch: objstore.Matching(strangeETag)})
}

func (p *patient) remove(ctx context.Context) Finding {
	err := p.cfg.Store.Delete(ctx, p.trialKey)
	if err != nil {
		f := refused(err)
		f.Found = "what is no longer needed stays, and costs: " + f.Found
		if errors.Is(err, fs.ErrPermission) { // a backup that its writer cannot delete may be what is wanted
			f.Status = Warning
			f.Remedy += "; if it is denied on purpose, delete what is below databases/" + p.dbName + "/nodes/doctor/ by other means"
			clear(p.left)
		}
		return f
	}
	delete(p.left, p.trialKey)
	return okay("DELETE is allowed")
}

// conditions is the test that a session makes before its first upload, with writers at the same
// moment and in parts.
func (p *patient) conditions(ctx context.Context) Finding {
	key := p.bucket.TrialKey()
	p.left[key] = true
	err := p.bucket.Trial(ctx, key)
	if err == nil { // it has deleted it
		delete(p.left, key)
	}
	switch {
	case errors.Is(err, remote.ErrConditions):
		return failed(err.Error(), otherService)
	case err != nil:
		return refused(err)
	}
	return okay("of several writers at the same moment exactly one wins, in one request and in parts")
}
