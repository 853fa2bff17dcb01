package rows

// list collects the rows of a query. A slice that grows by append would allocate, clear and copy
// several times what it has in the end.
type list[T any] struct {
	full [][]T
	last []T
}

// The lengths of the first part, and of the longest: each is twice as long as the one before.
const firstPart, longestPart = 4, 1024

// next adds a zero row.
func (l *list[T]) next() *T {
	if len(l.last) == cap(l.last) {
		if l.last != nil {
			l.full = append(l.full, l.last)
		}
		l.last = make([]T, 0, min(max(firstPart, 2*cap(l.last)), longestPart))
	}
	l.last = l.last[:len(l.last)+1]
	return &l.last[len(l.last)-1]
}

// slice returns the rows; it is never nil.
func (l *list[T]) slice() []T {
	if len(l.full) == 0 && l.last != nil {
		return l.last
	}
	n := len(l.last)
	for _, part := range l.full {
		n += len(part)
	}
	all := make([]T, 0, n)
	for _, part := range l.full {
		all = append(all, part...)
	}
	return append(all, l.last...)
}
