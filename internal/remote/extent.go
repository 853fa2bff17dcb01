package remote

import "fmt"

// Extent is how large the database has been at most in all of a history, also between
// what a manifest confirms and what the writer has stored behind that: the writer says so
// before it stores a batch. The zero value says nothing.
//
// It bounds what a replay may make of batches. What they hold does not: one row of an
// index or of a generated column may be a thousand times as large as what the log says.
type Extent struct {
	Pages    int64 `json:"pages"`
	PageSize int64 `json:"pageSize"`
}

// Grow makes m's extent cover e. One that says nothing of a history that has begun goes
// on to say nothing.
func (m *Manifest) Grow(e Extent) {
	if m.Largest != (Extent{}) || m.LatestSequence == 0 {
		m.Largest = Extent{max(m.Largest.Pages, e.Pages), max(m.Largest.PageSize, e.PageSize)}
	}
}

const (
	// layout is how many times the pages of the source a replay may need: its pages are
	// filled in another order, half full at worst, and it takes a whole batch as one
	// transaction.
	layout = 4
	// spare is what it may need in any case.
	spare = 64 << 20
)

// Limit is how many pages of pageSize a restore may need at most. It is 0 if e says
// nothing. Each page of the source is one at most in a file with larger pages, and as
// many bytes in one with smaller pages.
func (e Extent) Limit(pageSize int64) int64 {
	if e == (Extent{}) {
		return 0
	}
	return (layout*e.Pages*max(e.PageSize, pageSize) + spare) / pageSize
}

// check refuses what no database can have.
func (e Extent) check() error {
	size := e.PageSize
	if e != (Extent{}) && (e.Pages < 1 || e.Pages > 1<<32 || size < 512 || size > 64<<10 || size&(size-1) != 0) {
		return fmt.Errorf("a database cannot have %d pages of %d bytes", e.Pages, size)
	}
	return nil
}
