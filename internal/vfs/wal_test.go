package vfs

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"os"
	"testing"
)

// walFile is what the file holds.
func walFile(path string) []byte {
	all, _ := os.ReadFile(path + "-wal")
	return all
}

// committed are the frames of a WAL up to its last commit, each as text, and where that
// ends. Checksums are verified on the way, as a recovery does.
func committed(t testing.TB, all []byte) ([]string, int) {
	t.Helper()
	if len(all) < walHeader {
		return nil, len(all)
	}
	be := binary.BigEndian
	var a, b uint32
	sum := func(p []byte) {
		for ; len(p) >= 8; p = p[8:] {
			a += binary.LittleEndian.Uint32(p) + b
			b += binary.LittleEndian.Uint32(p[4:]) + a
		}
	}
	same := func(p []byte) bool { return be.Uint32(p) == a && be.Uint32(p[4:]) == b }
	sum(all[:24])
	if be.Uint32(all) != 0x377f0682 || !same(all[24:]) {
		t.Fatal("the header of a WAL")
	}
	size := int(be.Uint32(all[8:]))
	salt := all[16:24]
	frames := []string{fmt.Sprintf("page size %d", size)}
	count, end := len(frames), walHeader
	for rest := all[walHeader:]; len(rest) >= frameHeader+size; rest = rest[frameHeader+size:] {
		frame := rest[:frameHeader+size]
		sum(frame[:8])
		sum(frame[frameHeader:])
		if !bytes.Equal(frame[8:16], salt) || !same(frame[16:]) {
			break
		}
		commit := be.Uint32(frame[4:])
		frames = append(frames, fmt.Sprintf("page %d, commit %d", be.Uint32(frame), commit))
		if commit != 0 {
			count, end = len(frames), walHeader+(len(frames)-1)*len(frame)
		}
	}
	return frames[:count], end
}
