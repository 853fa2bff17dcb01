package seal

import (
	"io"
	"sync"
	"time"

	"github.com/klauspost/compress/gzip" // writes and opens a stream in less time than the standard library
)

// gzipLevel takes 1.2 µs and 36 bytes in the bucket for a row of the README's users table.
// Level 1 takes 0.7 µs and 41 bytes, level 6 takes 1.4 and 35, and the standard library's
// level 5 takes 2.6 and 38; see docs/BENCHMARKS.md. Bytes in the bucket are paid for every
// month, the time only once.
const gzipLevel = 5

// writers pools gzip writers: making one takes longer than compressing a small batch.
var writers = sync.Pool{New: func() any {
	w, err := gzip.NewWriterLevel(nil, gzipLevel)
	if err != nil {
		panic(err) // the level is invalid
	}
	return w
}}

// gzipWriter writes a gzip stream without name and time, with the same bytes everywhere.
type gzipWriter struct{ gz *gzip.Writer } // nil once it is closed

func newGzip(w io.Writer) *gzipWriter {
	gz := writers.Get().(*gzip.Writer)
	gz.Reset(w)
	gz.OS, gz.ModTime = 255, time.Unix(0, 0) // an unknown system, and no time
	return &gzipWriter{gz}
}

func (w *gzipWriter) Write(p []byte) (int, error) {
	if w.gz == nil {
		return 0, io.ErrClosedPipe
	}
	return w.gz.Write(p)
}

// Close ends the stream, once.
func (w *gzipWriter) Close() error {
	if w.gz == nil {
		return nil
	}
	err := w.gz.Close()
	w.gz.Reset(io.Discard) // so that the pool does not keep the underlying writer
	writers.Put(w.gz)
	w.gz = nil
	return err
}
