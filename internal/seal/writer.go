package seal

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
)

// NewWriter returns a writer that seals what is written to it into w. Close
// completes the object, which cannot be opened before that. It does not close w.
// Without compression, contents must be a JSON object or a SQLite database.
func NewWriter(w io.Writer, opts Options, c Context) (io.WriteCloser, error) {
	var stack writeStack
	if opts.Ring != nil {
		enc, err := encrypt(w, &opts.Ring.keys[0], c)
		if err != nil {
			return nil, fmt.Errorf("seal: encrypt %s: %w", c.Name, err)
		}
		stack.closers = append(stack.closers, enc)
		w = enc
	}
	top, err := Compress(w, opts.Compression)
	if err != nil {
		return nil, err
	}
	stack.Writer, stack.closers = top, append(stack.closers, top)
	return &stack, nil
}

// Compress is the first half of NewWriter, for contents that have no name yet. After
// Close, w has the input for Encrypt.
func Compress(w io.Writer, how Compression) (io.WriteCloser, error) {
	switch how {
	case Gzip:
		return newGzip(w), nil
	case None:
		return &plainWriter{w: w}, nil
	}
	return nil, fmt.Errorf("seal: unknown compression %d", how)
}

// Encrypt is the second half of NewWriter: it makes an object of compressed contents.
// Without a ring, the compressed contents are the object.
func Encrypt(compressed []byte, ring *Ring, c Context) ([]byte, error) {
	if ring == nil {
		return compressed, nil
	}
	sealed := bytes.NewBuffer(make([]byte, 0, len(compressed)+len(compressed)/1024+encryptedMore))
	w, err := encrypt(sealed, &ring.keys[0], c)
	if err == nil {
		_, err = w.Write(compressed)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		return nil, fmt.Errorf("seal: encrypt %s: %w", c.Name, err)
	}
	return sealed.Bytes(), nil
}

// encryptedMore is at least what encryption adds to short contents.
const encryptedMore = 256

// writeStack closes its writers from the top, once.
type writeStack struct {
	io.Writer
	closers []io.Closer // the lowest first
	err     error
}

func (s *writeStack) Close() error {
	for s.err == nil && len(s.closers) > 0 {
		top := len(s.closers) - 1
		s.err = s.closers[top].Close()
		s.closers = s.closers[:top]
	}
	return s.err
}

func encrypt(w io.Writer, k *key, c Context) (io.WriteCloser, error) {
	aead, err := k.aead()
	if err != nil {
		return nil, err
	}
	if _, err := w.Write(appendHeader(nil, k.id)); err != nil {
		return nil, err
	}
	return aead.NewEncryptingWriter(w, associatedData(k.id, c))
}

// plainWriter passes contents on and refuses those that a reader would not
// recognise.
type plainWriter struct {
	w     io.Writer
	start []byte // held back until sniffSize bytes are there
	known bool
}

var errNotPlain = errors.New("seal: contents that are neither a JSON object nor a SQLite database must be compressed")

func (p *plainWriter) Write(b []byte) (int, error) {
	if p.known {
		return p.w.Write(b)
	}
	held := min(sniffSize-len(p.start), len(b))
	p.start = append(p.start, b[:held]...)
	if len(p.start) < sniffSize {
		return held, nil
	}
	if err := p.release(); err != nil {
		return 0, err
	}
	n, err := p.w.Write(b[held:])
	return held + n, err
}

func (p *plainWriter) release() error {
	if !isPlain(p.start) {
		return errNotPlain
	}
	_, err := p.w.Write(p.start)
	p.known, p.start = true, nil
	return err
}

func (p *plainWriter) Close() error {
	if p.known {
		return nil
	}
	return p.release()
}

// Seal returns a reader of the sealed form of plain, for a store's Put. It seals
// while it is read, in bounded memory. The caller must Close it, which waits until
// plain is no longer read. Close does not close plain.
func Seal(plain io.Reader, opts Options, c Context) io.ReadCloser {
	pr, pw := io.Pipe()
	s := &sealing{PipeReader: pr, done: make(chan struct{})}
	go func() {
		defer close(s.done)
		pw.CloseWithError(sealInto(pw, plain, opts, c))
	}()
	return s
}

type sealing struct {
	*io.PipeReader
	done chan struct{}
}

func (s *sealing) Close() error {
	err := s.PipeReader.Close()
	<-s.done
	return err
}

func sealInto(dst io.Writer, plain io.Reader, opts Options, c Context) error {
	// A pipe hands over each write on its own, and gzip writes little at once.
	buf := bufio.NewWriterSize(dst, 64<<10)
	w, err := NewWriter(buf, opts, c)
	if err != nil {
		return err
	}
	if _, err := io.Copy(w, plain); err != nil {
		return err
	}
	if err := w.Close(); err != nil {
		return err
	}
	return buf.Flush()
}
