package objstore

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"slices"
	"strings"
	"sync"
	"time"
)

// Mem returns a new, empty store that keeps its objects in memory and loses them when the
// process ends. It is meant for tests. An object takes as much memory as it has bytes.
func Mem() Store {
	return &mem{objects: make(map[string]memObject), watched: make(map[string][]chan struct{})}
}

type mem struct {
	mu      sync.RWMutex
	objects map[string]memObject
	watched map[string][]chan struct{} // by key; see Watch
}

// memObject is never changed, so readers need no lock once they hold it.
type memObject struct {
	info Info
	data []byte
}

func (m *mem) Put(ctx context.Context, key string, body io.Reader, opts PutOptions) (Info, error) {
	info, err := m.put(ctx, key, body, opts)
	if err != nil {
		return Info{}, memError("put", key, err)
	}
	return info, nil
}

func (m *mem) put(ctx context.Context, key string, body io.Reader, opts PutOptions) (Info, error) {
	if err := ValidKey(key); err != nil {
		return Info{}, err
	}
	if err := opts.Validate(); err != nil {
		return Info{}, err
	}
	hash := newETag()
	data, err := io.ReadAll(io.TeeReader(withContext(ctx, body), hash))
	if err != nil {
		return Info{}, fmt.Errorf("read the body: %w", err)
	}
	info := Info{Key: key, Size: int64(len(data)), ETag: hash.String(), ModTime: time.Now()}

	m.mu.Lock()
	defer m.mu.Unlock()
	old, exists := m.objects[key]
	if opts.IfAbsent && exists || !opts.IfMatch.Holds(old.info.ETag) {
		return Info{}, ErrPrecondition
	}
	m.objects[key] = memObject{info, data}
	m.changed(key)
	return info, nil
}

// Watch tells of each Put and Delete of the object.
func (m *mem) Watch(ctx context.Context, key string) (<-chan struct{}, error) {
	if err := ValidKey(key); err != nil {
		return nil, memError("watch", key, err)
	}
	told := make(chan struct{}, 1)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.watched[key] = append(m.watched[key], told)
	context.AfterFunc(ctx, func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		m.watched[key] = slices.DeleteFunc(m.watched[key], func(c chan struct{}) bool { return c == told })
		close(told)
	})
	return told, nil
}

// changed tells those who watch the object. The caller holds mu.
func (m *mem) changed(key string) {
	for _, told := range m.watched[key] {
		tell(told)
	}
}

func (m *mem) Get(ctx context.Context, key string, opts GetOptions) (io.ReadCloser, Info, error) {
	body, info, err := m.get(ctx, key, opts)
	if err != nil {
		return nil, Info{}, memError("get", key, err)
	}
	return body, info, nil
}

func (m *mem) get(ctx context.Context, key string, opts GetOptions) (io.ReadCloser, Info, error) {
	if err := ctx.Err(); err != nil {
		return nil, Info{}, err
	}
	if err := ValidKey(key); err != nil {
		return nil, Info{}, err
	}
	if err := opts.Validate(); err != nil {
		return nil, Info{}, err
	}
	m.mu.RLock()
	obj, exists := m.objects[key]
	m.mu.RUnlock()
	if !exists {
		return nil, Info{}, fs.ErrNotExist
	}
	if opts.IfNoneMatch == obj.info.ETag {
		return nil, Info{}, ErrNotModified
	}
	offset, length := opts.span(obj.info.Size)
	part := bytes.NewReader(obj.data[offset : offset+length])
	return io.NopCloser(withContext(ctx, part)), obj.info, nil
}

// List yields the objects that existed when the iteration began.
func (m *mem) List(ctx context.Context, prefix string, opts ListOptions) iter.Seq2[Info, error] {
	return func(yield func(Info, error) bool) {
		folder := ""
		for _, key := range m.keys(prefix) {
			if err := ctx.Err(); err != nil {
				yield(Info{}, memError("list", prefix, err))
				return
			}
			if opts.Folders {
				if n := strings.IndexByte(key[len(prefix):], '/'); n >= 0 {
					key = key[:len(prefix)+n+1]
				}
			}
			if key <= opts.StartAfter || key == folder {
				continue
			}
			if strings.HasSuffix(key, "/") {
				folder = key
				if !yield(Info{Key: key}, nil) {
					return
				}
				continue
			}
			m.mu.RLock()
			obj, exists := m.objects[key]
			m.mu.RUnlock()
			if exists && !yield(obj.info, nil) {
				return
			}
		}
	}
}

// keys returns the keys that start with prefix, sorted.
func (m *mem) keys(prefix string) []string {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return slices.Sorted(func(yield func(string) bool) {
		for key := range m.objects {
			if strings.HasPrefix(key, prefix) && !yield(key) {
				return
			}
		}
	})
}

func (m *mem) Delete(ctx context.Context, key string) error {
	err := ctx.Err()
	if err == nil {
		err = ValidKey(key)
	}
	if err != nil {
		return memError("delete", key, err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.objects, key)
	m.changed(key)
	return nil
}

func memError(op, key string, err error) error {
	return fmt.Errorf("%s %.100q in memory: %w", op, key, err)
}
