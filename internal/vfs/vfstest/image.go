package vfstest

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// sector is the unit that a disk writes as a whole, or not at all.
const sector = 512

// Subset selects which part of the unsynced operations has reached the disk.
type Subset struct {
	Rand *rand.Rand
	// Share is the proportion, from 0 to 1.
	Share float64
}

// took reports whether one more thing has reached the disk.
func (s Subset) took() bool { return s.Share > 0 && (s.Share >= 1 || s.Rand.Float64() < s.Share) }

// Image is what a folder holds after power loss, with each file by its path.
type Image map[string]Content

// Content is the content of a file.
type Content struct {
	Data    []byte
	ModTime int64 // Unix ns
}

func (im Image) String() string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(im)) {
		fmt.Fprintf(&b, "%s: %d bytes\n", name, len(im[name].Data))
	}
	return b.String()
}

// Image returns the image of the moment after the first at operations. What was synced is
// there. Of the rest, there is a subset of the sectors, each as it was at some moment since
// its last sync, and a subset of the names given and taken since the last sync of their
// folder.
func (d *Disk) Image(at int, s Subset) Image {
	d.mu.Lock()
	ops := d.ops[:at:at]
	names := make(map[string][]version, len(d.names))
	for name, v := range d.names {
		names[name] = v[:len(v):len(v)]
	}
	d.mu.Unlock()
	synced := syncedFolders(ops)
	im := Image{}
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if f := chosen(names[name], at, synced[filepath.Dir(name)], s); f != nil {
			im[name] = f.content(ops, s)
		}
	}
	return im
}

// syncedFolders returns how many operations each folder's last sync covers.
func syncedFolders(ops []Op) map[string]int {
	synced := map[string]int{}
	for _, op := range ops {
		if op.Kind == SyncFolder {
			synced[op.Path] = max(synced[op.Path], op.from)
		}
	}
	return synced
}

// chosen returns the file that a name stands for on the disk.
func chosen(versions []version, at, synced int, s Subset) *file {
	var on *file
	for _, v := range versions {
		if v.at < at && (v.at < synced || s.took()) {
			on = v.file
		}
	}
	return on
}

// content replays the operations on f. A sector reaches the disk as the page cache has it at
// that moment, with all earlier writes.
func (f *file) content(ops []Op, s Subset) Content {
	synced := 0
	for _, op := range ops {
		if op.Kind == Sync && op.file == f {
			synced = max(synced, op.from)
		}
	}
	var cache, disk []byte
	var c Content
	for i, op := range ops {
		if op.file != f {
			continue
		}
		took := s.took
		if i < synced {
			took = always
		}
		if op.lost {
			took = never
		}
		switch op.Kind {
		case Write:
			cache = put(cache, op.data, int(op.off))
			disk = writeBack(disk, cache, int(op.off), len(op.data), took)
		case Truncate:
			cache = cut(cache, int(op.size))
			if took() {
				disk = cut(disk, int(op.size))
			}
		case Rewrite:
			cache = slices.Clone(op.data)
			if took() {
				disk = cut(disk, len(cache))
			}
			disk = writeBack(disk, cache, 0, len(cache), took)
		default:
			continue
		}
		c.ModTime = op.modTime
	}
	c.Data = disk
	return c
}

func always() bool { return true }
func never() bool  { return false }

// put writes data at off; any gap is zeros.
func put(b, data []byte, off int) []byte {
	b = cut(b, max(len(b), off+len(data)))
	copy(b[off:], data)
	return b
}

// cut gives b a new length; any new bytes are zeros.
func cut(b []byte, size int) []byte {
	if size <= len(b) {
		return b[:size]
	}
	return append(b, make([]byte, size-len(b))...)
}

// writeBack copies the sectors that hold n bytes at off from the cache to the disk.
func writeBack(disk, cache []byte, off, n int, took func() bool) []byte {
	for at := off / sector * sector; at < off+n; at += sector {
		if took() {
			disk = put(disk, cache[at:min(at+sector, len(cache))], at)
		}
	}
	return disk
}

// Write creates the files in a folder.
func (im Image) Write(dir string) error {
	for name, c := range im {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			return err
		}
		if err := os.WriteFile(path, c.Data, 0o600); err != nil {
			return err
		}
		at := time.Unix(0, c.ModTime)
		if err := os.Chtimes(path, at, at); err != nil {
			return err
		}
	}
	return nil
}
