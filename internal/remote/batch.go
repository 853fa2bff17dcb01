package remote

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"

	"github.com/driftdb/driftdb-go/internal/batch"
	"github.com/driftdb/driftdb-go/internal/seal"
	"github.com/driftdb/driftdb-go/objstore"
)

// PutBatch stores a sealed batch made by SealBatch or EncryptBatch. Its name belongs to
// this session alone. If the name is taken, the object may hold the same batch, from an
// attempt whose answer was lost. If it holds a different but intact batch, a twin of this
// session stored it: ErrLost. Anything else is ErrTaken, and tells nothing about who
// writes the history.
func (b *Bucket) PutBatch(ctx context.Context, databaseID string, name Batch, sealed []byte) error {
	key := BatchKey(b.name, name)
	_, err := b.store.Put(ctx, key, bytes.NewReader(sealed), objstore.PutOptions{IfAbsent: true})
	if !errors.Is(err, objstore.ErrPrecondition) {
		return err
	}
	// Sealing is not deterministic, so compare the contents.
	ours, oursErr := b.contents(databaseID, name, bytes.NewReader(sealed))
	if oursErr != nil {
		return oursErr
	}
	var refused error
	for range 3 { // it may be corrupted in transit
		theirs, rerr := b.contentsOf(ctx, databaseID, name)
		switch {
		case errors.Is(rerr, errOther):
			refused = rerr
		case rerr != nil:
			return fmt.Errorf("%w; and the stored object cannot be read: %w", err, rerr)
		case ours != theirs:
			return fmt.Errorf("%w: %s has different contents", ErrLost, key)
		default:
			return nil
		}
	}
	return fmt.Errorf("%w: %w", ErrTaken, refused)
}

// contentsOf hashes the contents of the object stored under name.
func (b *Bucket) contentsOf(ctx context.Context, databaseID string, name Batch) (sum [sha256.Size]byte, err error) {
	body, _, err := b.store.Get(ctx, BatchKey(b.name, name), objstore.GetOptions{})
	if err != nil {
		return sum, err
	}
	defer body.Close()
	src := &source{Reader: body}
	sum, err = b.contents(databaseID, name, src)
	if src.err != nil {
		err = src.err
	}
	return sum, err
}

// contents hashes the contents of a sealed batch. It returns errOther if they are not a
// complete batch of this name.
func (b *Bucket) contents(databaseID string, name Batch, sealed io.Reader) (sum [sha256.Size]byte, err error) {
	h := sha256.New()
	r, err := b.teeBatch(databaseID, name, sealed, h)
	for err == nil {
		_, err = r.Next()
	}
	if err == io.EOF && r.Trailer().To != name.To {
		err = fmt.Errorf("%w: it ends at sequence %d", ErrCorrupt, r.Trailer().To)
	}
	if err != io.EOF {
		return sum, fmt.Errorf("%w: %w", errOther, about(BatchKey(b.name, name), err))
	}
	h.Sum(sum[:0])
	return sum, nil
}

// openBatch opens the object of batch name.
func (b *Bucket) openBatch(databaseID string, name Batch, sealed io.Reader) (*batch.Reader, error) {
	return b.teeBatch(databaseID, name, sealed, io.Discard)
}

// teeBatch opens the object of batch name, and copies the plain bytes that are read to
// dst.
func (b *Bucket) teeBatch(databaseID string, name Batch, sealed io.Reader, dst io.Writer) (*batch.Reader, error) {
	key := b.key(name)
	plain, err := seal.NewReader(sealed, b.opts.Ring, b.context(cmp.Or(name.home.databaseID, databaseID), key))
	if err != nil {
		return nil, about(key, err)
	}
	r, err := batch.NewReader(io.TeeReader(plain, dst))
	if err != nil {
		return nil, about(key, err)
	}
	if h := r.Header(); h.NodeID != name.NodeID || h.Epoch != name.Epoch || h.From != name.From {
		return nil, fmt.Errorf("%w: %s holds batch %s of node %s", ErrCorrupt, key, Batch{From: h.From, To: name.To, Epoch: h.Epoch}.file(), h.NodeID)
	}
	return r, nil
}
