package remote

import "fmt"

// Extent is the largest size that the database has had in all of a history, including
// what the writer has stored past the manifest's head: the writer records it before it
// stores a batch. The zero value means unknown.
//
// It bounds the size of a replay. The size of the batches does not: one row of an index
// or a generated column may be a thousand times as large as its log entry.
type Extent struct {
	Pages    int64 `json:"pages"`
	PageSize int64 `json:"pageSize"`
}

// Grow makes m's extent cover e. If the history has begun and its extent is unknown, it
// stays unknown.
func (m *Manifest) Grow(e Extent) {
	if m.Largest != (Extent{}) || m.LatestSequence == 0 {
		m.Largest = Extent{max(m.Largest.Pages, e.Pages), max(m.Largest.PageSize, e.PageSize)}
	}
}

const (
	// layout is how many times the source's pages a replay may need: it fills pages in
	// another order, half full at worst, and applies a whole batch as one transaction.
	layout = 4
	// spare is what a replay may need in any case, in bytes.
	spare = 64 << 20
)

// Limit is the largest number of pages of pageSize that a restore may need; 0 if e is
// unknown. With larger pages, each source page needs at most one page; with smaller
// pages, as many bytes.
func (e Extent) Limit(pageSize int64) int64 {
	if e == (Extent{}) {
		return 0
	}
	return (layout*e.Pages*max(e.PageSize, pageSize) + spare) / pageSize
}

// check rejects sizes that no database can have.
func (e Extent) check() error {
	size := e.PageSize
	if e != (Extent{}) && (e.Pages < 1 || e.Pages > 1<<32 || size < 512 || size > 64<<10 || size&(size-1) != 0) {
		return fmt.Errorf("a database cannot have %d pages of %d bytes", e.Pages, size)
	}
	return nil
}
