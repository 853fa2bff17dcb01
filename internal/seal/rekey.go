package seal

import (
	"bytes"
	"strings"
)

// HeaderSize is how many bytes at the start of an object tell its key.
const HeaderSize = int64(headerSize)

// FirstSeals says whether an object that begins with start was encrypted with
// the ring's first key.
func (r *Ring) FirstSeals(start []byte) bool {
	return bytes.HasPrefix(start, appendHeader(nil, r.keys[0].id))
}

// FirstSealed says whether tag was made by MAC with the ring's first key.
func (r *Ring) FirstSealed(tag string) bool {
	return strings.HasPrefix(tag, r.keys[0].id.String()+":")
}
