package change

// DecodeValue reads a value that AppendValue has written at the beginning of b, and returns
// what follows it. Text and blobs share b's memory.
func DecodeValue(b []byte) (v Value, rest []byte, err error) {
	d := decoder{b: b}
	v = d.value()
	return v, d.b, d.err
}
