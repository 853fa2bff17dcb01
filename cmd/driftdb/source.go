package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
)

// source is the text of an input file.
type source struct {
	text *bufio.Reader
	name string // for messages
	size int64  // of the file, as it is on disk; -1 if unknown
	read int64  // of those bytes, so far
	raw  io.Reader
	sum  hash.Hash // of the bytes read so far
	file *os.File  // nil: standard input
	info os.FileInfo
}

// openSource opens a file, or standard input for "-". Compressed text is
// recognized by its first bytes, whatever the file's name.
func openSource(ctx context.Context, path string, stdin io.Reader) (*source, error) {
	s := &source{name: "standard input", size: -1, sum: sha256.New()}
	var from io.Reader
	if path == "-" {
		from = &interruptible{ctx: ctx, r: stdin, done: make(chan readResult, 1)}
	} else {
		f, err := openFile(ctx, path)
		if err != nil {
			return nil, err
		}
		s.name, s.file, from = path, f, f
		if s.info, err = f.Stat(); err != nil {
			return nil, errors.Join(err, s.Close())
		}
		if s.info.Mode().IsRegular() {
			s.size = s.info.Size()
		} else {
			from = &interruptible{ctx: ctx, r: f, done: make(chan readResult, 1)}
		}
	}
	s.raw = io.TeeReader(&countingReader{from, &s.read}, s.sum)
	var err error
	if s.text, err = plainText(s.raw); err != nil {
		return nil, errors.Join(fmt.Errorf("read %s: %w", s.name, err), s.Close())
	}
	return s, nil
}

// openFile opens a file until ctx ends: a named pipe is open only when somebody writes to it.
// An opening that is still waiting then is abandoned, like a read of interruptible.
func openFile(ctx context.Context, path string) (*os.File, error) {
	type result struct {
		f   *os.File
		err error
	}
	done := make(chan result, 1)
	go func() {
		f, err := os.Open(path)
		done <- result{f, err}
	}()
	select {
	case r := <-done:
		return r.f, r.err
	case <-ctx.Done():
		return nil, fmt.Errorf("open %s: %w", path, ctx.Err())
	}
}

// again reports whether the source can be read more than once: it is a regular file.
func (s *source) again() bool { return s.size >= 0 }

// same reports whether the source reads the file that was measured, and nobody has written to
// it since. It compares times, so it may miss a writer that has set them.
func (s *source) same(measured os.FileInfo) (bool, error) {
	info, err := s.file.Stat()
	if err != nil {
		return false, err
	}
	return os.SameFile(info, measured) && info.Size() == measured.Size() && info.ModTime().Equal(measured.ModTime()), nil
}

// digest reads what is left of the file, and returns the SHA-256 of all of it.
func (s *source) digest(ctx context.Context, progress func()) (string, error) {
	for {
		if err := ctx.Err(); err != nil {
			return "", err
		}
		_, err := io.CopyN(io.Discard, s.raw, 4<<20)
		progress()
		if err == io.EOF {
			return hex.EncodeToString(s.sum.Sum(nil)), nil
		}
		if err != nil {
			return "", fmt.Errorf("read %s: %w", s.name, err)
		}
	}
}

// base is the name of the file without its folder.
func (s *source) base() string { return filepath.Base(s.name) }

// plainText decompresses gzip and removes a byte order mark.
func plainText(raw io.Reader) (*bufio.Reader, error) {
	text := bufio.NewReaderSize(raw, 64<<10)
	if magic, err := text.Peek(2); err == nil && bytes.Equal(magic, []byte{0x1f, 0x8b}) {
		unzipped, err := gzip.NewReader(text)
		if err != nil {
			return nil, err
		}
		text = bufio.NewReaderSize(unzipped, 64<<10)
	}
	if mark, err := text.Peek(3); err == nil && string(mark) == "\ufeff" {
		if _, err := text.Discard(len(mark)); err != nil {
			return nil, err
		}
	}
	return text, nil
}

// Close closes the file.
func (s *source) Close() error {
	if s.file == nil {
		return nil
	}
	return s.file.Close()
}

type countingReader struct {
	io.Reader
	n *int64
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	*c.n += int64(n)
	return n, err
}

// interruptible reads until ctx ends, even from a pipe without a writer. A read that is
// still waiting then is abandoned, and ends only with the process.
type interruptible struct {
	ctx  context.Context
	r    io.Reader
	buf  [64 << 10]byte
	rest []byte // of buf, not yet passed on
	err  error  // comes after rest
	done chan readResult
}

type readResult struct {
	n   int
	err error
}

func (i *interruptible) Read(p []byte) (int, error) {
	if err := i.ctx.Err(); err != nil {
		return 0, err
	}
	if len(i.rest) == 0 && i.err == nil {
		go func() {
			n, err := i.r.Read(i.buf[:])
			i.done <- readResult{n, err}
		}()
		select {
		case res := <-i.done:
			i.rest, i.err = i.buf[:res.n], res.err
		case <-i.ctx.Done():
			return 0, i.ctx.Err()
		}
	}
	n := copy(p, i.rest)
	i.rest = i.rest[n:]
	if len(i.rest) == 0 {
		return n, i.err
	}
	return n, nil
}
