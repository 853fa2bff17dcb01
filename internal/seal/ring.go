package seal

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"

	"github.com/tink-crypto/tink-go/v2/streamingaead/subtle"
)

const keySize = 32

// Ring holds encryption keys. The first one seals, all of them open. A nil Ring has
// no keys. Printing a Ring never prints its keys.
type Ring struct {
	keys []key
}

type key struct {
	id     keyID
	secret [keySize]byte
}

// keyID is the public name of a key: the first bytes of a hash of it.
type keyID [8]byte

func (id keyID) String() string { return hex.EncodeToString(id[:]) }

// ParseKeys makes a ring from keys of exactly 64 hex digits each. An empty list
// gives a nil ring. Errors wrap ErrKey, and say which key is wrong without
// repeating it.
func ParseKeys(hexKeys []string) (*Ring, error) {
	if len(hexKeys) == 0 {
		return nil, nil
	}
	r := &Ring{keys: make([]key, 0, len(hexKeys))}
	for i, s := range hexKeys {
		k, err := parseKey(s)
		if err != nil {
			return nil, fmt.Errorf("%w: key %d of %d %v", ErrKey, i+1, len(hexKeys), err)
		}
		if j := slices.IndexFunc(r.keys, func(have key) bool { return have.secret == k.secret }); j >= 0 {
			return nil, fmt.Errorf("%w: key %d of %d is the same as key %d", ErrKey, i+1, len(hexKeys), j+1)
		}
		r.keys = append(r.keys, k)
	}
	return r, nil
}

func parseKey(s string) (k key, err error) {
	if len(s) != 2*keySize {
		return key{}, fmt.Errorf("has %d bytes; a key is %d hex digits", len(s), 2*keySize)
	}
	if i := strings.IndexFunc(s, func(c rune) bool { return !strings.ContainsRune("0123456789abcdefABCDEF", c) }); i >= 0 {
		return key{}, fmt.Errorf("is not hex at byte %d; a key is %d hex digits", i+1, 2*keySize)
	}
	if _, err := hex.Decode(k.secret[:], []byte(s)); err != nil {
		return key{}, fmt.Errorf("is not hex; a key is %d hex digits", 2*keySize)
	}
	sum := sha256.Sum256(append([]byte("driftdb key id v1"), k.secret[:]...))
	copy(k.id[:], sum[:])
	return k, nil
}

// KeyIDs returns the ids of the keys in their order: 16 hex digits each. They
// are not secret.
func (r *Ring) KeyIDs() []string {
	if r == nil {
		return nil
	}
	ids := make([]string, len(r.keys))
	for i := range r.keys {
		ids[i] = r.keys[i].id.String()
	}
	return ids
}

// find returns the key with that id, or a KeyError.
func (r *Ring) find(id keyID) (*key, error) {
	if r != nil {
		for i := range r.keys {
			if r.keys[i].id == id {
				return &r.keys[i], nil
			}
		}
	}
	return nil, &KeyError{KeyID: id.String()}
}

// aead returns the streaming cipher that objects are encrypted with.
func (k *key) aead() (*subtle.AESGCMHKDF, error) {
	return subtle.NewAESGCMHKDF(k.secret[:], "SHA256", keySize, segmentSize, headerSize)
}

// MAC returns a tag that proves to every holder of the ring's first key that data
// was written by a holder of that key. context says what the data is, so that it
// cannot be passed off as something else. A nil ring returns "".
//
// A tag is the key's id and an HMAC-SHA256, in hex, separated by a colon.
func (r *Ring) MAC(context string, data []byte) (string, error) {
	if r == nil {
		return "", nil
	}
	sum, err := r.keys[0].mac(context, data)
	if err != nil {
		return "", err
	}
	return r.keys[0].id.String() + ":" + hex.EncodeToString(sum), nil
}

// VerifyMAC checks a tag made by MAC with any key of the ring. It returns a
// KeyError if the ring lacks the key, ErrCorrupt if the data or the context is
// not what was tagged, and ErrPlaintext if the tag is empty although there are
// keys. A nil ring accepts the empty tag only.
func (r *Ring) VerifyMAC(context string, data []byte, tag string) error {
	if tag == "" {
		if r == nil {
			return nil
		}
		return fmt.Errorf("%w: %s has no authentication tag", ErrPlaintext, context)
	}
	id, sum, ok := parseTag(tag)
	if !ok {
		return fmt.Errorf("%w: %s has a malformed authentication tag", ErrCorrupt, context)
	}
	k, err := r.find(id)
	if err != nil {
		return fmt.Errorf("verify %s: %w", context, err)
	}
	want, err := k.mac(context, data)
	if err != nil {
		return err
	}
	if !hmac.Equal(sum, want) {
		return fmt.Errorf("%w: %s was altered", ErrCorrupt, context)
	}
	return nil
}

func (k *key) mac(context string, data []byte) ([]byte, error) {
	macKey, err := hkdf.Key(sha256.New, k.secret[:], nil, "driftdb mac v1", keySize)
	if err != nil {
		return nil, fmt.Errorf("seal: derive key: %w", err)
	}
	h := hmac.New(sha256.New, macKey)
	h.Write(appendSized(nil, context))
	h.Write(data)
	return h.Sum(nil), nil
}

func parseTag(tag string) (id keyID, sum []byte, ok bool) {
	idHex, sumHex, _ := strings.Cut(tag, ":")
	if len(idHex) != 2*len(id) || len(sumHex) != 2*sha256.Size {
		return id, nil, false
	}
	if _, err := hex.Decode(id[:], []byte(idHex)); err != nil {
		return id, nil, false
	}
	sum, err := hex.DecodeString(sumHex)
	return id, sum, err == nil
}

// String returns the ids of the keys, never the keys.
func (r *Ring) String() string { return "keys " + strings.Join(r.KeyIDs(), ", ") }

// Format implements [fmt.Formatter], so that no verb prints the keys.
func (r Ring) Format(f fmt.State, _ rune) { io.WriteString(f, r.String()) }

// LogValue implements [slog.LogValuer] with the ids of the keys.
func (r *Ring) LogValue() slog.Value { return slog.AnyValue(r.KeyIDs()) }
