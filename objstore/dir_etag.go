package objstore

import (
	"context"
	"io"
	"os"
	"sync"
	"time"
)

const (
	// cacheFrom is the size from which a file's ETag is worth remembering:
	// below it, hashing costs less than a millisecond.
	cacheFrom = 1 << 20
	// cacheMax bounds the number of ETags remembered.
	cacheMax = 1024
	// settleTime is how old a file must be before an unchanged time means unchanged
	// content: file systems' clocks are coarse, and a new file may get the inode number of
	// the one it replaced.
	settleTime = 2 * time.Second
)

// etagCache remembers the ETags of large files, because reading one in ranges would
// otherwise hash all of it for each range.
type etagCache struct {
	mu    sync.Mutex
	known map[string]knownETag
}

type knownETag struct {
	file os.FileInfo
	etag string
}

// of returns the ETag of an open file, and leaves the file's offset alone.
func (c *etagCache) of(ctx context.Context, key string, f *os.File) (string, error) {
	fi, err := f.Stat()
	if err != nil {
		return "", err
	}
	c.mu.Lock()
	old, ok := c.known[key]
	c.mu.Unlock()
	if ok && os.SameFile(old.file, fi) && old.file.Size() == fi.Size() && old.file.ModTime().Equal(fi.ModTime()) {
		return old.etag, nil
	}
	began := time.Now()
	hash := newETag()
	if _, err := io.Copy(hash, withContext(ctx, io.NewSectionReader(f, 0, fi.Size()))); err != nil {
		return "", err
	}
	if fi.Size() >= cacheFrom && began.Sub(fi.ModTime()) > settleTime {
		c.remember(key, knownETag{fi, hash.String()})
	}
	return hash.String(), nil
}

func (c *etagCache) remember(key string, e knownETag) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.known == nil || len(c.known) >= cacheMax {
		c.known = make(map[string]knownETag)
	}
	c.known[key] = e
}
