package vfs

import (
	"sync"

	"github.com/driftdb/driftdb-go/internal/cmem"
	"github.com/driftdb/driftdb-go/internal/vfs/layer"
	"modernc.org/libc"
	lib "modernc.org/sqlite/lib"
)

// shadow is a layer over ours. It keeps what each WAL would hold if everything were
// written at once.
type shadow struct {
	*layer.VFS
	own layer.Methods

	mu    sync.Mutex
	files map[string][]byte
	paths map[layer.File]string
}

func (s *shadow) register(name, base string) (err error) {
	s.files, s.paths = map[string][]byte{}, map[layer.File]string{}
	s.own = layer.Methods{
		Write: func(tls *libc.TLS, f layer.File, buf uintptr, n int32, offset int64) int32 {
			s.change(f, func(b []byte) []byte {
				if end := int(offset) + int(n); end > len(b) {
					b = append(b, make([]byte, end-len(b))...)
				}
				copy(b[offset:], cmem.Bytes(buf, int(n)))
				return b
			})
			return s.Below(f).Write(tls, buf, n, offset)
		},
		Truncate: func(tls *libc.TLS, f layer.File, size int64) int32 {
			s.change(f, func(b []byte) []byte { return b[:min(int(size), len(b))] })
			return s.Below(f).Truncate(tls, size)
		},
		Close: func(tls *libc.TLS, f layer.File) int32 {
			s.mu.Lock()
			delete(s.paths, f)
			s.mu.Unlock()
			return s.Below(f).Close(tls)
		},
	}
	s.VFS, err = layer.Register(layer.Options{Name: name, Base: base, Hooks: layer.Hooks{
		Open: func(tls *libc.TLS, name uintptr, f layer.File, flags int32, outFlags uintptr) int32 {
			if rc := s.Open(tls, name, f, flags, outFlags); rc != lib.SQLITE_OK || flags&lib.SQLITE_OPEN_WAL == 0 {
				return rc
			}
			s.mu.Lock()
			s.paths[f] = libc.GoString(name)
			s.mu.Unlock()
			return s.Attach(tls, f, &s.own)
		},
	}})
	return err
}

func (s *shadow) change(f layer.File, fn func([]byte) []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	path := s.paths[f]
	s.files[path] = fn(s.files[path])
}

// of is what the WAL of a database should hold.
func (s *shadow) of(path string) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.files[path+"-wal"]
}
