// Package objstore defines what DriftDB needs from an object store: put with conditions,
// get with ranges, list, and delete.
//
// [Dir] keeps objects in a local folder and is safe between processes, [Mem] keeps them
// in memory, and package s3store uses Amazon S3 and compatible services. [Open] creates a
// store from a URL. Package objstoretest has the test suite that every implementation
// must pass.
package objstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"time"
)

// Store keeps objects under keys.
//
// A key is a relative slash-separated path such as "databases/app/manifest.json": see
// [ValidKey]. Objects are replaced and become visible as a whole: a reader sees all of an
// object or nothing. A successful Put is durable, and every later Get and List sees it,
// from anywhere.
//
// All methods are safe for concurrent use. Where one applies, errors wrap one of the
// sentinels below, [io/fs.ErrNotExist] (no such object), [io/fs.ErrPermission] (wrong
// credentials or permissions), [errors.ErrUnsupported] (the store cannot do what was
// asked) or an error of ctx. Any other error may be transient, and the operation may or
// may not have taken effect. A store does not retry calls.
type Store interface {
	// Put stores everything that it reads from body under key. It takes objects of any
	// size, in bounded memory. If the condition does not hold, it returns ErrPrecondition
	// and leaves the object as it was; if body fails before its end, it returns that
	// error and also leaves the object as it was. Put never closes body.
	//
	// The Info has the ETag that the store gave the object. A response without an ETag
	// does not confirm that the store has the object: it is an error that may be
	// transient.
	Put(ctx context.Context, key string, body io.Reader, opts PutOptions) (Info, error)

	// Get opens the object, or the part of it that opts selects. The Info describes the
	// whole object. The caller must close the reader. It returns io.EOF only after every
	// byte, and fails when ctx ends.
	Get(ctx context.Context, key string, opts GetOptions) (io.ReadCloser, Info, error)

	// List yields the objects whose keys start with prefix, in byte order of their keys.
	// After an error it yields nothing more.
	List(ctx context.Context, prefix string, opts ListOptions) iter.Seq2[Info, error]

	// Delete removes the object. Deleting an object that does not exist is not an error.
	Delete(ctx context.Context, key string) error
}

// PutOptions are the options of a Put. Set at most one of IfAbsent and IfMatch; the zero
// value replaces whatever is there.
type PutOptions struct {
	// IfAbsent creates the object, and fails if it exists.
	IfAbsent bool
	// IfMatch replaces the object only if it exists with a certain ETag: see [Matching].
	IfMatch Match
	// InParts uploads the object in parts, like one that is too large for one request,
	// whatever its size, if the store can do that.
	InParts bool
}

// Match is the condition that an object exists with a certain ETag. The zero value is no
// condition.
type Match struct {
	etag string
	set  bool
}

// Matching is the condition that an object has this ETag. An empty ETag makes a condition
// that every store refuses (ErrNoETag): a caller that does not know what it replaces must
// not replace it.
func Matching(etag string) Match { return Match{etag, true} }

// ETag returns the ETag to compare with; ok is false if there is no condition.
func (m Match) ETag() (etag string, ok bool) { return m.etag, m.set }

// Holds reports whether an object with this ETag meets the condition, if there is one.
// For a missing object, etag is empty.
func (m Match) Holds(etag string) bool { return !m.set || m.etag != "" && m.etag == etag }

// GetOptions select part of an object, or none of it if the caller has it already. The zero
// value selects all of it.
type GetOptions struct {
	// Offset is the first byte to read. At or past the end of the object, the body is
	// empty.
	Offset int64
	// Length is the maximum number of bytes to read; 0 means up to the end.
	Length int64
	// IfNoneMatch, if not empty, is an ETag that the caller has the object of: if the
	// object still has it, Get may return ErrNotModified instead of the object. A store
	// that cannot compare returns the object.
	IfNoneMatch string
}

// ListOptions narrow a List.
type ListOptions struct {
	// StartAfter skips keys up to and including this one, which need not exist. With
	// Folders, a folded key is compared with its slash.
	StartAfter string
	// Folders lists one level: keys that have a slash after the prefix are folded into
	// one Info, whose Key ends with that slash and whose other fields are zero.
	Folders bool
}

// Info describes a stored object.
type Info struct {
	Key  string
	Size int64
	// ETag identifies the object's content for PutOptions.IfMatch. It is opaque, and
	// never empty in what Put and Get return. Equal content may have equal ETags, so an
	// ETag cannot show that A was replaced by B and then by A again. List leaves it empty
	// if the store would have to read the object to find it.
	ETag string
	// ModTime is when the object was stored, by the store's clock. After a Put it may
	// differ by a few seconds from what Get and List return.
	ModTime time.Time
}

var (
	// ErrPrecondition means that the condition of a Put did not hold.
	ErrPrecondition = errors.New("objstore: precondition failed")
	// ErrNotModified means that the object still has the ETag of a Get's IfNoneMatch.
	ErrNotModified = errors.New("objstore: the object is the same as before")
	// ErrNoBucket means that the bucket or folder itself does not exist.
	ErrNoBucket = errors.New("objstore: no such bucket")
	// ErrUnreachable means that no connection to the service could be made: its name does
	// not resolve, nothing listens there, or there is no network. It may be transient.
	ErrUnreachable = errors.New("objstore: the service cannot be reached")
	// ErrFolderReplaced means that a folder is not the one that was there when the store
	// was opened, usually because its disk is not mounted. It wraps ErrNoBucket. See Dir.
	ErrFolderReplaced = fmt.Errorf("%w: the folder was replaced", ErrNoBucket)
	// ErrNoETag means that a Put has an IfMatch condition with an empty ETag.
	ErrNoETag = errors.New("objstore: the condition to match has no ETag")
	// ErrInvalidKey means that a key does not have the form that ValidKey requires.
	ErrInvalidKey = errors.New("objstore: invalid key")
)
