package syncer

import (
	"encoding/binary"
	"errors"
	"os"

	"github.com/driftdb/driftdb-go/internal/sqlite"
)

// Free pages of a database still hold what was deleted from them. In the copy for a
// snapshot they are overwritten with zeros, which compress to almost nothing and keep
// deleted data out of the bucket.

// fewFree is the number of free pages up to which wiping is not worth the effort.
const fewFree = 16

// wipe overwrites the free pages of the copy with zeros. A damaged freelist may name
// pages that are in use, so wipe overwrites only pages that belong to no b-tree, and none
// at all if the freelist is malformed.
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

// freePages returns the leaf pages of the freelist, and the page size. It returns no
// pages if there are few, or if the freelist is malformed, or with auto_vacuum, which has
// pages that belong to neither the freelist nor a b-tree.
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

// freelist reads SQLite's freelist: trunk pages, each of which names the next trunk and
// up to a page full of leaves.
type freelist struct {
	c      *sqlite.Conn
	used   []bool // pages that belong to a b-tree, or were already met
	leaves []int64
	sound  bool
}

// walk follows the freelist, which must have count pages.
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

// meet marks a page as met. It reports whether the page may be free: it belongs to no
// b-tree, and is met for the first time.
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
