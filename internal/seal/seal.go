// Package seal turns what DriftDB stores into the bytes of an object, and
// back: compression, then encryption if there are keys.
//
// A sealed object has one of these forms:
//
//	gzip                 an ordinary gzip stream of one member, without name
//	                     and time; gunzip reads it
//	plain                the contents themselves: a JSON object or a SQLite
//	                     database
//	encrypted            "DRIFTENC", the version byte 1, the key id (8 bytes),
//	                     then gzip or plain under Tink's streaming AEAD,
//	                     AES256-GCM-HKDF with SHA-256 and segments of 1 MiB
//
// Objects with the same contents have the same bytes, except encrypted ones, each
// of which has its own salt. Compare objects by their contents.
//
// # What encryption protects
//
// An attacker who can read and write the bucket, but has no key, learns the size
// of an object and the id of its key, and can delete objects or keep new ones
// from being stored. The attacker cannot read, alter, cut or extend an object: the
// ciphertext is authenticated to its end. Nor can objects be exchanged: the database
// id and the object's name are authenticated too. Nor can forged objects be added:
// a reader that has keys refuses unencrypted objects. It also refuses objects from
// before encryption was switched on: read those without keys, and start a new
// database for the encrypted ones.
//
// Without keys, gzip's checksum finds damage but does not stop an attacker.
package seal

import (
	"bytes"
	"encoding/binary"
	"errors"
)

// Compression is how contents are compressed.
type Compression uint8

// The kinds of compression.
const (
	Gzip Compression = iota // a gzip stream; the default
	None                    // the contents as they are
)

// Options control how objects are sealed.
type Options struct {
	Compression Compression // default Gzip
	Ring        *Ring       // its first key encrypts; nil: no encryption
}

// Context identifies the object that is sealed. An encrypted object opens only in
// the context in which it was sealed.
type Context struct {
	DatabaseID string
	Name       string // the object's key in the store
}

var (
	// ErrCorrupt means that an object is damaged, truncated, extended, altered
	// or stored under another name.
	ErrCorrupt = errors.New("seal: object is corrupt")
	// ErrVersion means that a newer program sealed an object.
	ErrVersion = errors.New("seal: the object was encrypted by a newer version of DriftDB; upgrade the program")
	// ErrKey means that a key is missing or malformed. See KeyError.
	ErrKey = errors.New("seal: wrong or missing encryption key")
	// ErrPlaintext means that an object is not encrypted, or a manifest not
	// authenticated, although there are keys. Anyone with access to the
	// bucket could have put it there.
	ErrPlaintext = errors.New("seal: object is not encrypted, but encryption keys are set")
)

// KeyError names the key that an object needs and the ring does not have. It wraps
// ErrKey.
type KeyError struct {
	KeyID string // 16 hex digits, see Ring.KeyIDs
}

func (e *KeyError) Error() string {
	return "seal: encryption key " + e.KeyID + " is needed and was not given; add it to the encryption keys"
}

// Unwrap returns ErrKey.
func (e *KeyError) Unwrap() error { return ErrKey }

const (
	magic           = "DRIFTENC"
	envelopeVersion = 1
	headerSize      = len(magic) + 1 + len(keyID{})
	segmentSize     = 1 << 20 // of ciphertext
)

const gzipMagic = "\x1f\x8b"

// plainStarts are the possible starts of uncompressed contents. Checking them
// keeps a damaged gzip or encrypted object from being mistaken for a plain one:
// any two starts differ in more than one byte.
var plainStarts = []string{`{"`, "SQLite format 3\x00"}

// sniffSize is how many bytes at the start of an object determine its form.
const sniffSize = len("SQLite format 3\x00")

func isPlain(start []byte) bool {
	for _, s := range plainStarts {
		if bytes.HasPrefix(start, []byte(s)) {
			return true
		}
	}
	return false
}

// associatedData is authenticated with an encrypted object: its header and its
// context. Lengths go before strings, so that no two contexts are alike.
func associatedData(id keyID, c Context) []byte {
	b := appendHeader(nil, id)
	b = appendSized(b, c.DatabaseID)
	return appendSized(b, c.Name)
}

func appendHeader(b []byte, id keyID) []byte {
	b = append(b, magic...)
	b = append(b, envelopeVersion)
	return append(b, id[:]...)
}

func appendSized(b []byte, s string) []byte {
	b = binary.BigEndian.AppendUint64(b, uint64(len(s)))
	return append(b, s...)
}
