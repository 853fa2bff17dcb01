package seal

import (
	"io"
	"sync"
	"time"

	"github.com/klauspost/compress/gzip" // writes and opens a stream in less time than the standard library
)

// gzipLevel takes 1.2 µs for a row of the README's users table, and 36 bytes in the bucket.
// Level 1 takes 0.7 and 41, level 6 1.4 and 35, and the standard library's level 5 2.6 and
// 38: see docs/BENCHMARKS.md. A byte in the bucket is paid for every month, the time once.
const gzipLevel = 5

// writers are gzip writers that nobody uses: to make one takes longer than to compress
// a small batch.
var writers = sync.Pool{New: func() any {
	w, err := gzip.NewWriterLevel(nil, gzipLevel)
	if err != nil {
		panic(err) // the level is not one
	}
	return w
}}

// gzipWriter is a gzip stream without name and time, of the same bytes everywhere.
type gzipWriter struct{ gz *gzip.Writer } // nil once it is closed

func newGzip(w io.Writer) *gzipWriter {
	gz := writers.Get().(*gzip.Writer)
	gz.Reset(w)
	gz.OS, gz.ModTime = 255, time.Unix(0, 0) // unknown, on every system; and none
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
	w.gz.Reset(io.Discard) // or the pool would keep what it wrote to
	writers.Put(w.gz)
	w.gz = nil
	return err
}
