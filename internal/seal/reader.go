package seal

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/klauspost/compress/gzip" // opens a stream in two thirds of the standard library's time
	"github.com/tink-crypto/tink-go/v2/streamingaead/subtle"
)

// NewReader opens a sealed object of any form, as a stream and in bounded
// memory. With a ring, only encrypted objects open: see ErrPlaintext.
//
// All data read from an encrypted object is authentic. Only [io.EOF] means that an
// object, of any form, is complete. Errors, here and from Read, wrap a KeyError,
// ErrPlaintext, ErrCorrupt, or the error that r returned. They are sticky.
func NewReader(r io.Reader, ring *Ring, c Context) (io.Reader, error) {
	src := &source{r: r}
	opened, err := open(src, ring, c)
	if err != nil {
		return nil, src.explain(err, c)
	}
	return &reader{r: opened, src: src, context: c}, nil
}

func open(src *source, ring *Ring, c Context) (io.Reader, error) {
	buffered := bufio.NewReaderSize(src, 64<<10)
	start, err := buffered.Peek(headerSize)
	if err != nil && err != io.EOF {
		return nil, err
	}
	switch {
	case len(start) < len(magic) && strings.HasPrefix(magic, string(start)):
		return nil, io.ErrUnexpectedEOF // of whatever it was
	case bytes.HasPrefix(start, []byte(magic)):
		decrypted, err := decrypt(buffered, start, ring, c)
		if err != nil {
			return nil, err
		}
		return decompress(bufio.NewReaderSize(decrypted, 64<<10))
	case ring != nil:
		return nil, fmt.Errorf("%w: %s; if it was stored before encryption, read it without keys", ErrPlaintext, c.Name)
	}
	return decompress(buffered)
}

// Encrypted reports whether src begins like an encrypted object. It consumes nothing.
func Encrypted(src *bufio.Reader) (bool, error) {
	start, err := src.Peek(len(magic))
	if err != nil && err != io.EOF {
		return false, err
	}
	return string(start) == magic, nil
}

// decrypt opens an encrypted object. start has its header, or what there is of it.
func decrypt(src *bufio.Reader, start []byte, ring *Ring, c Context) (io.Reader, error) {
	if len(start) < headerSize {
		return nil, io.ErrUnexpectedEOF
	}
	switch v := start[len(magic)]; {
	case v > envelopeVersion:
		return nil, fmt.Errorf("%w: %s has version %d, this program supports %d", ErrVersion, c.Name, v, envelopeVersion)
	case v < envelopeVersion:
		return nil, fmt.Errorf("%w: unknown encryption version %d", ErrCorrupt, v)
	}
	id := keyID(start[len(magic)+1:])
	k, err := ring.find(id)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", c.Name, err)
	}
	if _, err := src.Discard(headerSize); err != nil {
		return nil, err
	}
	var aead *subtle.AESGCMHKDF
	if aead, err = k.aead(); err != nil {
		return nil, err
	}
	return aead.NewDecryptingReader(src, associatedData(id, c))
}

// decompress opens gzip, or passes on plain contents.
func decompress(src *bufio.Reader) (io.Reader, error) {
	start, err := src.Peek(sniffSize)
	if err != nil && err != io.EOF {
		return nil, err
	}
	switch {
	case bytes.HasPrefix(start, []byte(gzipMagic)):
		gz, err := gzip.NewReader(src)
		if err != nil {
			return nil, err
		}
		gz.Multistream(false) // DriftDB writes a single member
		return &oneMember{gz: gz, src: src}, nil
	case isPlain(start):
		return src, nil
	case len(start) == 0:
		return nil, io.ErrUnexpectedEOF
	}
	return nil, fmt.Errorf("%w: neither encrypted, gzip, JSON nor a SQLite database", ErrCorrupt)
}

// oneMember reads a gzip stream of one member, after which src must end.
type oneMember struct {
	gz  *gzip.Reader
	src *bufio.Reader
}

func (m *oneMember) Read(p []byte) (int, error) {
	n, err := m.gz.Read(p)
	if err != io.EOF {
		return n, err
	}
	switch _, err := m.src.Peek(1); err {
	case io.EOF:
		return n, io.EOF
	case nil:
		return n, fmt.Errorf("%w: data after the end of the gzip stream", ErrCorrupt)
	default:
		return n, err
	}
}

// reader makes errors sticky, which Tink's are not, and explains them.
type reader struct {
	r       io.Reader
	src     *source
	context Context
	err     error
}

func (r *reader) Read(p []byte) (int, error) {
	if r.err != nil {
		return 0, r.err
	}
	n, err := r.r.Read(p)
	if err == io.EOF {
		r.err = io.EOF
	} else if err != nil {
		r.err = r.src.explain(err, r.context)
	}
	return n, r.err
}

// source remembers the store's error, so that a broken connection is not reported
// as a corrupt object.
type source struct {
	r   io.Reader
	err error
}

func (s *source) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if err != nil && err != io.EOF {
		s.err = err
	}
	return n, err
}

// explain turns an error of any layer into one of this package.
func (s *source) explain(err error, c Context) error {
	switch {
	case s.err != nil:
		return fmt.Errorf("seal: read %s: %w", c.Name, s.err)
	case isOurs(err):
		return err
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("%w: %s is truncated", ErrCorrupt, c.Name)
	}
	return fmt.Errorf("%w: %s: %v", ErrCorrupt, c.Name, err)
}

func isOurs(err error) bool {
	return errors.Is(err, ErrCorrupt) || errors.Is(err, ErrKey) || errors.Is(err, ErrPlaintext) || errors.Is(err, ErrVersion)
}
