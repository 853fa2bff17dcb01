package inspect

// SetWindow sets how many changes are read at a time to find those that match.
func (h *Handler) SetWindow(n int64) { h.window = n }
