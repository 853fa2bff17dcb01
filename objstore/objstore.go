// Package objstore is what DriftDB needs of an object store: put with
// conditions, get with ranges, list, and delete.
//
// [Dir] keeps objects in a local folder and is safe between processes, [Mem]
// keeps them in memory, and package s3store speaks to Amazon S3 and its
// look-alikes. [Open] makes a store from a URL. Package objstoretest has the
// suite that every implementation has to pass.
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
// A key is a relative slash-separated path such as
// "databases/app/manifest.json": see [ValidKey]. An object is replaced as a
// whole and becomes visible as a whole: a reader sees all of an object or none
// of it. A successful Put is durable, and every later Get and List, by anyone,
// sees it.
//
// All methods may be called concurrently. Errors wrap one of the sentinels
// below, [io/fs.ErrNotExist] (no such object), [io/fs.ErrPermission]
// (credentials or rights are wrong), [errors.ErrUnsupported] (the store cannot
// do what was asked) or an error of ctx where one of them applies; any other
// error may be transient, and the operation may or may not have taken effect.
// A store does not retry calls.
type Store interface {
	// Put stores what body yields, up to its end, under key. Objects of any
	// size are taken in bounded memory. With a condition that does not hold it
	// returns ErrPrecondition and leaves the object as it was; so does, with
	// its own error, a body that fails before its end. Put never closes body.
	//
	// The Info has the ETag that the store gave to the object. A store that does
	// not name one has not said that it has the object: no ETag is no answer, and
	// an error that may be transient.
	Put(ctx context.Context, key string, body io.Reader, opts PutOptions) (Info, error)

	// Get opens the object, or the part of it that opts selects. The Info
	// describes the whole object. The caller closes the reader; it ends with
	// io.EOF only when every byte has come, and fails when ctx ends.
	Get(ctx context.Context, key string, opts GetOptions) (io.ReadCloser, Info, error)

	// List yields the objects whose keys start with prefix, in the byte order
	// of their keys. After an error it yields nothing more.
	List(ctx context.Context, prefix string, opts ListOptions) iter.Seq2[Info, error]

	// Delete removes the object. Removing what is not there is no error.
	Delete(ctx context.Context, key string) error
}

// PutOptions are the conditions of a Put. At most one may be set; the zero
// value replaces whatever is there.
type PutOptions struct {
	// IfAbsent creates the object and refuses to replace one.
	IfAbsent bool
	// IfMatch replaces the object only while it is there with an ETag: see
	// [Matching].
	IfMatch Match
	// InParts takes the way of an object that is too large for one request,
	// whatever its size, where the store has such a way.
	InParts bool
}

// Match is the condition that an object is there with a certain ETag. The zero
// value is no condition.
type Match struct {
	etag string
	set  bool
}

// Matching is the condition that an object has this ETag. An ETag that is empty
// makes a condition that no store takes (ErrNoETag): whoever has not been told
// what he replaces does not replace it.
func Matching(etag string) Match { return Match{etag, true} }

// ETag returns the ETag to compare with; ok says that there is a condition.
func (m Match) ETag() (etag string, ok bool) { return m.etag, m.set }

// Holds says whether the condition holds, if there is one, for an object with this
// ETag; for none, it is empty.
func (m Match) Holds(etag string) bool { return !m.set || m.etag != "" && m.etag == etag }

// GetOptions select a part of an object. The zero value is the whole object.
type GetOptions struct {
	// Offset is the first byte wanted. An offset at or past the end yields
	// an empty body.
	Offset int64
	// Length is the number of bytes wanted, at most; 0 means up to the end.
	Length int64
}

// ListOptions narrow a List.
type ListOptions struct {
	// StartAfter skips keys up to and including this one, which need not
	// exist; with Folders, folded ones by their key with the slash.
	StartAfter string
	// Folders lists one level: keys that have a slash after the prefix are
	// folded into one Info whose Key ends with that slash and whose other
	// fields are zero.
	Folders bool
}

// Info describes a stored object.
type Info struct {
	Key  string
	Size int64
	// ETag names the object's content for PutOptions.IfMatch. It is opaque, and
	// never empty in what Put and Get return.
	// Equal content may have equal ETags, so it cannot tell A from A again
	// after B. List leaves it empty in a store that would have to read the
	// object for it.
	ETag string
	// ModTime is when the object was stored, by the store's clock. After a Put
	// it may differ from what Get and List say by a few seconds.
	ModTime time.Time
}

var (
	// ErrPrecondition says that the condition of a Put did not hold.
	ErrPrecondition = errors.New("objstore: precondition failed")
	// ErrNoBucket says that the bucket or folder itself is missing.
	ErrNoBucket = errors.New("objstore: no such bucket")
	// ErrUnreachable says that no connection to the service could be made: its name does
	// not resolve, nobody listens there, or there is no network. It may pass.
	ErrUnreachable = errors.New("objstore: the service cannot be reached")
	// ErrFolderReplaced says that a folder is not the one that it was when the
	// store was opened; usually its disk is not mounted. It wraps ErrNoBucket.
	// See Dir.
	ErrFolderReplaced = fmt.Errorf("%w: the folder was replaced", ErrNoBucket)
	// ErrNoETag says that a Put was to replace an object without saying which.
	ErrNoETag = errors.New("objstore: the condition to match has no ETag")
	// ErrInvalidKey says that a key is not of the form ValidKey asks for.
	ErrInvalidKey = errors.New("objstore: invalid key")
)
