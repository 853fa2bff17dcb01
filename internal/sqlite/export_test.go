package sqlite

// SpoilIndex leaves the WAL-index as a process does that dies in the middle of
// writing its header, and returns the count of commits in it.
func (c *Conn) SpoilIndex() uint32 {
	h := shared(c.wal())
	n := h.FiChange
	h.FmxFrame ^= 1
	return n
}

// Closed says whether c is.
func (c *Conn) Closed() bool {
	c.closing.Lock()
	defer c.closing.Unlock()
	return c.closed
}
