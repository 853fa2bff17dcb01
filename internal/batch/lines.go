package batch

import (
	"bytes"
	"fmt"
	"io"
)

const (
	readSize = 128 << 10
	// lookahead is enough for the position that an entry starts with.
	lookahead = 96
	// maxEmptyReads is how often in a row a source may yield nothing.
	maxEmptyReads = 100
)

// lines cuts a stream into lines. The buffer grows only as data arrives, so a
// hostile batch costs no more memory than it has bytes.
type lines struct {
	src   io.Reader
	limit int // the longest line taken, without its newline
	buf   []byte
	start int   // of the line to come, in buf
	end   int   // of what has been read, in buf
	err   error // why src ended
	count int   // lines returned
}

func newLines(src io.Reader, limit int) lines {
	return lines{src: src, limit: limit, buf: make([]byte, readSize)}
}

// next returns the next line without its newline. The line, and what peek returns,
// are valid until the following call.
func (l *lines) next() ([]byte, error) {
	size := 0 // bytes known to be without a newline
	for {
		i := bytes.IndexByte(l.buf[l.start+size:l.end], '\n')
		if i >= 0 {
			size += i
			break
		}
		size = l.end - l.start
		if size > l.limit {
			return nil, fmt.Errorf("%w: line %d is longer than %d bytes", ErrCorrupt, l.count+1, l.limit)
		}
		if l.err == io.EOF {
			return nil, fmt.Errorf("%w: truncated in line %d", ErrCorrupt, l.count+1)
		}
		if l.err != nil {
			return nil, fmt.Errorf("batch: read line %d: %w", l.count+1, l.err)
		}
		l.fill()
	}
	for l.end-l.start < size+1+lookahead && l.err == nil {
		l.fill()
	}
	line := l.buf[l.start : l.start+size]
	l.start += size + 1
	l.count++
	return line, nil
}

// peek returns how the next line starts: lookahead bytes, or fewer at the end.
func (l *lines) peek() []byte { return l.buf[l.start:min(l.start+lookahead, l.end)] }

// grown returns the size of the next buffer: double or, if that comes close, what the
// longest allowed line needs, which saves one more copy in memory.
func (l *lines) grown() int {
	if most := l.limit + 1 + lookahead + readSize; 4*len(l.buf) >= most {
		return most
	}
	return 2 * len(l.buf)
}

// fill reads once. It may move the line to come, and doubles the buffer when
// that line fills it.
func (l *lines) fill() {
	if l.end == len(l.buf) {
		dst := l.buf
		if l.start < len(l.buf)/2 {
			dst = make([]byte, l.grown())
		}
		l.end = copy(dst, l.buf[l.start:l.end])
		l.start, l.buf = 0, dst
	}
	for range maxEmptyReads {
		n, err := l.src.Read(l.buf[l.end:])
		l.end += n
		l.err = err
		if n > 0 || err != nil {
			return
		}
	}
	l.err = io.ErrNoProgress
}
