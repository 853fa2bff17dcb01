package sqlite

import (
	"encoding/binary"
	"fmt"
)

// Edges returns the pages on the paths from a b-tree's root to its first and last leaf: the
// pages that appending to the tree, or deleting from its beginning, must write.
func (c *Conn) Edges(root uint32) ([]uint32, error) {
	pages := []uint32{root}
	for _, child := range []func([]byte) uint32{firstChild, lastChild} {
		for page := root; ; {
			b, err := c.page(page)
			if err != nil {
				return nil, err
			}
			if page = child(b); page == 0 {
				break
			}
			if len(pages) > maxEdges {
				return nil, fmt.Errorf("sqlite: the b-tree at page %d is damaged", root)
			}
			pages = append(pages, page)
		}
	}
	return pages, nil
}

// maxEdges is more than twice the depth that a tree can have.
const maxEdges = 64

func (c *Conn) page(number uint32) (b []byte, err error) {
	st, err := c.Cached("SELECT data FROM sqlite_dbpage WHERE pgno = ?1")
	if err != nil {
		return nil, err
	}
	defer st.Release()
	st.BindInt64(1, int64(number))
	err = st.Each(func(st *Stmt) error { b = append(b, st.View(0)...); return nil })
	if err == nil && len(b) < minPage {
		err = fmt.Errorf("sqlite: there is no page %d", number)
	}
	return b, err
}

// An interior page (sqlite.org/fileformat.html, section 1.6) begins with 2 or 5, has the
// number of its last child at offset 8 and the offsets of its cells from 12 on. A cell begins
// with the number of its child.
func isInterior(b []byte) bool { return b[0] == 2 || b[0] == 5 }

func firstChild(b []byte) uint32 {
	if !isInterior(b) {
		return 0
	}
	at := int(binary.BigEndian.Uint16(b[12:]))
	if at+4 > len(b) {
		return 0
	}
	return binary.BigEndian.Uint32(b[at:])
}

func lastChild(b []byte) uint32 {
	if !isInterior(b) {
		return 0
	}
	return binary.BigEndian.Uint32(b[8:])
}
