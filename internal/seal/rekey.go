package seal

import "bytes"

// HeaderSize is how many bytes at the start of an object identify its key.
const HeaderSize = int64(headerSize)

// FirstSeals reports whether an object that begins with start was encrypted with
// the ring's first key.
func (r *Ring) FirstSeals(start []byte) bool {
	return bytes.HasPrefix(start, appendHeader(nil, r.keys[0].id))
}
