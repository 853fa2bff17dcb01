package syncer

import (
	"encoding/binary"
	"errors"
	"os"

	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// A database that has had rows deleted has pages that nothing uses, with what was on
// them. A snapshot has no use for that: zeros take no room once they are compressed, and
// what was deleted does not stay in the bucket.

// fewFree is up to how many free pages it is not worth to look.
const fewFree = 16

// wipe overwrites the free pages of the copy with zeros. A damaged list of free pages
// may name some that are in use, so only pages that no b-tree has are overwritten, and
// none if the list is not what it must be.
func (v *copySource) wipe() error {
	free, size, err := freePages(v.c)
	if err != nil || len(free) == 0 {
		return err
	}
	f, err := os.OpenFile(v.work.Path(), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	zeros := make([]byte, size)
	for _, page := range free {
		if _, err = f.WriteAt(zeros, (page-1)*size); err != nil {
			break
		}
	}
	return errors.Join(err, f.Close())
}

// freePages returns the leaves of the list of free pages, and the size of a page;
// nothing if there are few, or if what the file says of its pages cannot be believed.
// With auto_vacuum there are pages that belong to neither the list nor a b-tree.
func freePages(c *sqlite.Conn) (free []int64, size int64, err error) {
	var count, pages, moves int64
	for pragma, into := range map[string]*int64{"freelist_count": &count, "page_count": &pages, "auto_vacuum": &moves, "page_size": &size} {
		if *into, err = c.Int("PRAGMA " + pragma); err != nil {
			return nil, 0, err
		}
	}
	if count <= fewFree || moves != 0 || count >= pages {
		return nil, 0, nil
	}
	used := make([]bool, pages+1)
	err = c.Each("SELECT pageno FROM dbstat", func(st *sqlite.Stmt) error {
		if page := st.Int64(0); 0 < page && page <= pages {
			used[page] = true
		}
		return nil
	})
	if sqlite.IsNotDatabase(err) {
		return nil, 0, nil
	}
	if err != nil {
		return nil, 0, err
	}
	l := freelist{c: c, used: used}
	if err := l.walk(count); err != nil || !l.sound {
		return nil, 0, err
	}
	return l.leaves, size, nil
}

// freelist is the list of free pages: trunks, each of which names the next one and up
// to a page full of leaves.
type freelist struct {
	c      *sqlite.Conn
	used   []bool // pages that are a b-tree's, or have been met
	leaves []int64
	sound  bool
}

// walk follows the list, which must have count pages.
func (l *freelist) walk(count int64) error {
	header, err := l.page(1)
	if err != nil || len(header) < 36 {
		return err
	}
	trunk := int64(binary.BigEndian.Uint32(header[32:]))
	for met := int64(0); ; {
		if trunk == 0 {
			l.sound = met == count
			return nil
		}
		if !l.meet(trunk) {
			return nil
		}
		data, err := l.page(trunk)
		if err != nil || len(data) < 8 {
			return err
		}
		n := int64(binary.BigEndian.Uint32(data[4:]))
		if met += 1 + n; met > count || 8+4*n > int64(len(data)) {
			return nil
		}
		for i := range n {
			leaf := int64(binary.BigEndian.Uint32(data[8+4*i:]))
			if !l.meet(leaf) {
				return nil
			}
			l.leaves = append(l.leaves, leaf)
		}
		trunk = int64(binary.BigEndian.Uint32(data))
	}
}

// meet says that a page is free, as far as is known, and named for the first time.
func (l *freelist) meet(page int64) bool {
	if page < 2 || page >= int64(len(l.used)) || l.used[page] {
		return false
	}
	l.used[page] = true
	return true
}

func (l *freelist) page(number int64) (data []byte, err error) {
	st, err := l.c.Cached("SELECT data FROM sqlite_dbpage('main') WHERE pgno = ?1")
	if err != nil {
		return nil, err
	}
	defer st.Release()
	st.BindInt64(1, number)
	err = st.Each(func(st *sqlite.Stmt) error {
		data = append([]byte(nil), st.View(0)...)
		return nil
	})
	return data, err
}
