package change

// ReadValue reads a value that AppendValue has written, and returns what follows it. The
// value refers to the memory of b.
func ReadValue(b []byte) (v Value, rest []byte, err error) {
	d := decoder{b: b}
	v = d.value()
	return v, d.b, d.err
}
