package objstore

import (
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// maxKeyLen is Amazon S3's limit, in bytes.
const maxKeyLen = 1024

// ValidKey returns an error that wraps [ErrInvalidKey] unless every store accepts key: 1
// to 1024 bytes of valid UTF-8, made of elements separated by single slashes. No element
// may be empty, "." or "..". Backslashes, control characters, U+FFFE and U+FFFF (which
// S3's XML cannot carry) are refused.
//
// A file system may be stricter; see [Dir]. ASCII letters, digits, dots, dashes and
// underscores, in elements of up to 255 bytes, are safe everywhere.
func ValidKey(key string) error {
	if reason := badKey(key); reason != "" {
		// A hostile key may be of any length; its start is enough to find it.
		return fmt.Errorf("%w: %.100q %s", ErrInvalidKey, key, reason)
	}
	return nil
}

func badKey(key string) string {
	switch {
	case key == "":
		return "is empty"
	case len(key) > maxKeyLen:
		return fmt.Sprintf("has %d bytes, more than %d", len(key), maxKeyLen)
	case !utf8.ValidString(key):
		return "is not valid UTF-8"
	}
	for elem := range strings.SplitSeq(key, "/") {
		switch elem {
		case "":
			return "starts or ends with a slash or has two in a row"
		case ".", "..":
			return "has an element " + elem
		}
	}
	for _, r := range key {
		if r < 0x20 || r >= 0x7f && r < 0xa0 || r == '\\' || r == 0xfffe || r == 0xffff {
			return fmt.Sprintf("has the character %U", r)
		}
	}
	return ""
}

// Validate returns an error that wraps [errors.ErrUnsupported] if both conditions are
// set, and ErrNoETag if the IfMatch condition has no ETag.
func (o PutOptions) Validate() error {
	etag, match := o.IfMatch.ETag()
	if o.IfAbsent && match {
		return fmt.Errorf("%w: IfAbsent together with IfMatch", errors.ErrUnsupported)
	}
	if match && etag == "" {
		return ErrNoETag
	}
	return nil
}

// Validate returns an error that wraps [errors.ErrUnsupported] if a number is negative.
func (o GetOptions) Validate() error {
	if o.Offset < 0 || o.Length < 0 {
		return fmt.Errorf("%w: a negative range (offset %d, length %d)", errors.ErrUnsupported, o.Offset, o.Length)
	}
	return nil
}

// span clips the range to an object of size bytes.
func (o GetOptions) span(size int64) (offset, length int64) {
	offset = min(o.Offset, size)
	length = size - offset
	if o.Length > 0 {
		length = min(o.Length, length)
	}
	return offset, length
}
