package batch

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"hash"
)

// Chain is a rolling SHA-256 over all transactions of a history. A transaction
// with the entries e1, e2, … (their own JSON, without the comma between them)
// moves it from c to
//
//	SHA-256(c ‖ e1 ‖ "\n" ‖ e2 ‖ "\n" …)
//
// so it does not depend on where batches begin and end: merging batches keeps
// it, and a history cut after any transaction can still be verified.
type Chain [sha256.Size]byte

// Genesis returns the chain of a database before its first transaction.
func Genesis(databaseID string) Chain {
	return sha256.Sum256([]byte("driftdb chain v1\n" + databaseID))
}

// ParseChain is the inverse of String. Its errors wrap ErrCorrupt.
func ParseChain(s string) (Chain, error) {
	var c Chain
	if err := c.UnmarshalText([]byte(s)); err != nil {
		return Chain{}, err
	}
	return c, nil
}

// String returns 64 lower-case hex digits.
func (c Chain) String() string { return hex.EncodeToString(c[:]) }

// AppendText implements [encoding.TextAppender] with the digits of String.
func (c Chain) AppendText(b []byte) ([]byte, error) { return hex.AppendEncode(b, c[:]), nil }

// MarshalText implements [encoding.TextMarshaler] with the digits of String.
func (c Chain) MarshalText() ([]byte, error) { return c.AppendText(nil) }

// UnmarshalText implements [encoding.TextUnmarshaler]. Its errors wrap
// ErrCorrupt.
func (c *Chain) UnmarshalText(text []byte) error {
	if !c.parse(text) {
		return fmt.Errorf("%w: a chain is 64 lower-case hex digits, not %.80q", ErrCorrupt, text)
	}
	return nil
}

func (c *Chain) parse(text []byte) bool {
	if len(text) != 2*len(c) {
		return false
	}
	for _, d := range text {
		if 'A' <= d && d <= 'F' {
			return false // one spelling only
		}
	}
	var got Chain
	if _, err := hex.Decode(got[:], text); err != nil {
		return false
	}
	*c = got
	return true
}

// roller moves a chain forward, transaction by transaction.
type roller struct {
	chain Chain // after the last transaction that was ended
	hash  hash.Hash
}

func newRoller(c Chain) roller { return roller{chain: c, hash: sha256.New()} }

var newline = []byte{'\n'}

func (r *roller) begin() {
	r.hash.Reset()
	r.hash.Write(r.chain[:])
}

func (r *roller) add(entry []byte) {
	r.hash.Write(entry)
	r.hash.Write(newline)
}

func (r *roller) end() { r.hash.Sum(r.chain[:0]) }
