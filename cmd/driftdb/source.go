package main

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
)

// source is the text of an input file.
type source struct {
	text io.Reader
	name string // for messages
	size int64  // of the file, as it is on disk; -1 if unknown
	read int64  // of those bytes, so far
	file io.Closer
}

// openSource opens a file, or standard input for "-". Compressed text is
// recognized by its first bytes, whatever the file's name.
func openSource(ctx context.Context, path string, stdin io.Reader) (*source, error) {
	s := &source{name: "standard input", size: -1}
	var raw io.Reader
	if path == "-" {
		raw = &interruptible{ctx: ctx, r: stdin, done: make(chan readResult, 1)}
	} else {
		f, err := os.Open(path)
		if err != nil {
			return nil, err
		}
		s.name, s.file, raw = path, f, f
		if info, err := f.Stat(); err == nil && info.Mode().IsRegular() {
			s.size = info.Size()
		}
	}
	var err error
	if s.text, err = plainText(&countingReader{raw, &s.read}); err != nil {
		return nil, errors.Join(fmt.Errorf("read %s: %w", s.name, err), s.Close())
	}
	return s, nil
}

// plainText decompresses gzip and removes a byte order mark.
func plainText(raw io.Reader) (io.Reader, error) {
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
