package seal

import (
	"bufio"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
)

// gzipLevel is the fastest level that stores a row of the README's users table
// in less than 45 bytes: level 1 takes 51, level 6 saves 0.3 bytes more than 5
// and costs a third of its speed.
const gzipLevel = 5

// NewWriter returns a writer that seals what is written to it into w. Close
// completes the object, which cannot be opened before; it does not close w.
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
	switch opts.Compression {
	case Gzip:
		gz, err := gzip.NewWriterLevel(w, gzipLevel)
		if err != nil {
			return nil, fmt.Errorf("seal: compress %s: %w", c.Name, err)
		}
		gz.OS = 255 // unknown, on every system: the same bytes everywhere
		stack.closers = append(stack.closers, gz)
		w = gz
	case None:
		pw := &plainWriter{w: w}
		stack.closers = append(stack.closers, pw)
		w = pw
	default:
		return nil, fmt.Errorf("seal: unknown compression %d", opts.Compression)
	}
	stack.Writer = w
	return &stack, nil
}

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

var errNotPlain = errors.New("seal: contents that are neither a JSON object nor a SQLite database need compression")

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

// Seal returns a reader of the sealed form of plain, for a store's Put. It
// works as it is read, in bounded memory. The caller has to Close it, which
// waits until plain is no longer read; it does not close plain.
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
