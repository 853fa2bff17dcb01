package jsbucket

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"

	"github.com/driftdb/driftdb-go/objstore"
)

// An object is its content, compressed by gzip unless the program turned that off, and then
// encrypted if the program has a key: 12 bytes of nonce, 16 bytes of tag, the rest, by
// AES-256-GCM. Nothing in the object's name says which, so its first bytes do.
const (
	nonceSize = 12
	tagSize   = 16
)

// maxBatch bounds the bytes of a batch. The package stores at most 100 changes in one,
// unless it is told otherwise.
const maxBatch = 1 << 30

// maxSealed bounds an encrypted object, which has to be decrypted as a whole.
const maxSealed = 8 << 30

var (
	gzipMagic   = []byte{0x1f, 0x8b}
	sqliteMagic = []byte("SQLite format 3\x00")
)

func parseKeys(keys []string) (parsed [][]byte, err error) {
	for _, key := range keys {
		raw, err := hex.DecodeString(key)
		if err != nil || len(raw) != 32 {
			return nil, fmt.Errorf("%w: a key is 64 hex digits", ErrKey)
		}
		parsed = append(parsed, raw)
	}
	return parsed, nil
}

// read reads an object of at most limit bytes.
func read(ctx context.Context, b Bucket, key string, limit int64) (content []byte, err error) {
	body, _, err := b.Get(ctx, key, objstore.GetOptions{})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, body.Close()) }()
	return readBounded(body, key, limit)
}

func readBounded(body io.Reader, key string, limit int64) ([]byte, error) {
	content, err := io.ReadAll(io.LimitReader(body, limit+1))
	if err == nil && int64(len(content)) > limit {
		err = fmt.Errorf("%w: %s is larger than %d MiB", ErrDamaged, key, limit>>20)
	}
	return content, err
}

// readBatch returns the JSON of a batch.
func (j *job) readBatch(key string) ([]byte, error) {
	raw, err := read(j.ctx, j.bucket, key, maxBatch)
	if err == nil && len(j.keys) > 0 {
		raw, err = j.decrypt(key, raw)
	}
	if err != nil {
		return nil, err
	}
	if bytes.HasPrefix(raw, gzipMagic) {
		unzipped, err := gzip.NewReader(bytes.NewReader(raw))
		if err == nil {
			raw, err = readBounded(unzipped, key, maxBatch)
		}
		if err != nil {
			return nil, fmt.Errorf("%w: %s: %w", ErrDamaged, key, err)
		}
	}
	if !bytes.HasPrefix(raw, []byte("{")) {
		return nil, j.unknown(key)
	}
	return raw, nil
}

// copySnapshot writes the database of a snapshot to f.
func (j *job) copySnapshot(f *os.File, key string) (err error) {
	body, _, err := j.bucket.Get(j.ctx, key, objstore.GetOptions{})
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %s, which the manifest names, is missing", ErrDamaged, key)
	} else if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, body.Close()) }()
	in := io.Reader(body)
	if len(j.keys) > 0 {
		sealed, err := readBounded(body, key, maxSealed)
		if err != nil {
			return err
		}
		plain, err := j.decrypt(key, sealed)
		if err != nil {
			return err
		}
		in = bytes.NewReader(plain)
	}
	head := make([]byte, len(sqliteMagic))
	n, err := io.ReadFull(in, head)
	if err != nil && !errors.Is(err, io.ErrUnexpectedEOF) && !errors.Is(err, io.EOF) {
		return err
	}
	in = io.MultiReader(bytes.NewReader(head[:n]), in)
	zipped := bytes.HasPrefix(head, gzipMagic)
	if zipped {
		source := &remember{r: in}
		unzipped, err := gzip.NewReader(source)
		if err == nil {
			_, err = io.Copy(f, unzipped)
		}
		return zipFault(key, err, source.err)
	}
	if n < len(head) { // less than a nonce and a tag
		return fmt.Errorf("%w: %s was cut after %d bytes", ErrDamaged, key, n)
	}
	if !bytes.Equal(head, sqliteMagic) {
		return j.unknown(key)
	}
	_, err = io.Copy(f, in)
	return err
}

// remember keeps the error of a reader: what the bucket or the disk did is no damage.
type remember struct {
	r   io.Reader
	err error
}

func (r *remember) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	if err != nil && err != io.EOF {
		r.err = err
	}
	return n, err
}

// zipFault says whose fault it is that a compressed snapshot was not written: the
// bucket's, the disk's, or the object's.
func zipFault(key string, err, bucket error) error {
	if _, disk := errors.AsType[*fs.PathError](err); err == nil || bucket != nil || disk {
		return err
	}
	return fmt.Errorf("%w: %s: %w", ErrDamaged, key, err)
}

// decrypt opens an object with the key that fits.
func (j *job) decrypt(key string, sealed []byte) ([]byte, error) {
	if len(sealed) < nonceSize+tagSize {
		return nil, fmt.Errorf("%w: %s is too short to be encrypted", ErrDamaged, key)
	}
	nonce, tag, text := sealed[:nonceSize], sealed[nonceSize:nonceSize+tagSize], sealed[nonceSize+tagSize:]
	joined := append(bytes.Clone(text), tag...) // as Go wants it
	for _, k := range j.keys {
		block, err := aes.NewCipher(k)
		if err != nil {
			return nil, err
		}
		gcm, err := cipher.NewGCM(block)
		if err != nil {
			return nil, err
		}
		if plain, err := gcm.Open(nil, nonce, joined, nil); err == nil {
			return plain, nil
		}
	}
	if bytes.HasPrefix(sealed, gzipMagic) || bytes.HasPrefix(sealed, sqliteMagic) || bytes.HasPrefix(sealed, []byte(`{"version"`)) {
		return nil, fmt.Errorf("%w: %s is not encrypted, but a key is given", ErrKey, key)
	}
	return nil, fmt.Errorf("%w: no key opens %s, or it is damaged", ErrKey, key)
}

// unknown is the error about an object that is neither text nor a database.
func (j *job) unknown(key string) error {
	if len(j.keys) == 0 {
		return fmt.Errorf("%w: %s is encrypted, or damaged; the key is the one that the program sets in encryption.key", ErrKey, key)
	}
	return fmt.Errorf("%w: %s is neither a batch nor a database", ErrDamaged, key)
}
