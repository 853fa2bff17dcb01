package sqlite

import (
	"bufio"
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"os"
	"slices"
)

// WALTail is the last commit in a WAL file. The zero value means that there is none.
type WALTail struct {
	Sum   uint64   // the running checksum at its end, as Ledger.Start returns it
	Pages []uint32 // the pages that it wrote
}

// The WAL's format: sqlite.org/walformat.html.
const (
	walMagic    = 0x377f0682 // lowest bit set: checksums read the words as big-endian
	walVersion  = 3007000
	walHeader   = 32
	frameHeader = 24
	minPage     = 512
	maxPage     = 65536
)

// ReadWAL finds the last commit in the WAL of the database at path, as SQLite's recovery
// would. It opens the -wal file itself, so this process must have no connection open to the
// database.
func ReadWAL(path string) (WALTail, error) {
	f, err := os.Open(path + "-wal")
	if errors.Is(err, fs.ErrNotExist) {
		return WALTail{}, nil
	}
	if err != nil {
		return WALTail{}, err
	}
	defer f.Close()
	tail, err := readWAL(bufio.NewReaderSize(f, 1<<18))
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		err = nil // a truncated frame does not count
	}
	return tail, err
}

// WALGone reports whether the database at path has no -wal, or one that lacks what the index
// beside it counts. Whoever opened the database last and died without a commit leaves a -wal
// that is empty, and an index that counts nothing. It opens the -shm file itself, so this
// process must have no connection open to the database.
func WALGone(path string) (bool, error) {
	if _, err := os.Stat(path + "-wal"); err != nil {
		return errors.Is(err, fs.ErrNotExist), ignore(err, fs.ErrNotExist)
	}
	f, err := os.Open(path + "-shm")
	if err != nil {
		return false, ignore(err, fs.ErrNotExist)
	}
	defer f.Close()
	var frames [4]byte // in the order of the machine that wrote it, but 0 is 0
	if _, err := f.ReadAt(frames[:], indexFrames); err != nil {
		return false, ignore(err, io.EOF)
	}
	return frames != [4]byte{}, nil
}

// indexFrames is where the WAL's index has its number of frames.
const indexFrames = 16

// ignore returns err, unless it is what was expected.
func ignore(err, expected error) error {
	if errors.Is(err, expected) {
		return nil
	}
	return err
}

func readWAL(r io.Reader) (last WALTail, err error) {
	head := make([]byte, walHeader)
	if _, err := io.ReadFull(r, head); err != nil {
		return last, err
	}
	be := binary.BigEndian
	magic, size, salt := be.Uint32(head), be.Uint32(head[8:]), head[16:24]
	if magic&^1 != walMagic || be.Uint32(head[4:]) != walVersion || size < minPage || size > maxPage || size&(size-1) != 0 {
		return last, nil
	}
	var order binary.ByteOrder = binary.LittleEndian
	if magic&1 != 0 {
		order = binary.BigEndian
	}
	sum := walSum{}.add(order, head[:24])
	if sum != sumAt(head[24:]) {
		return last, nil
	}
	var pages []uint32
	frame := make([]byte, frameHeader+size)
	for {
		if _, err := io.ReadFull(r, frame); err != nil {
			return last, err
		}
		sum = sum.add(order, frame[:8]).add(order, frame[frameHeader:])
		page, commit := be.Uint32(frame), be.Uint32(frame[4:]) != 0
		if page == 0 || string(frame[8:16]) != string(salt) || sum != sumAt(frame[16:]) {
			return last, nil
		}
		pages = append(pages, page)
		if commit {
			last.Sum, last.Pages = sum.number(), slices.Clone(pages)
			pages = pages[:0]
		}
	}
}

// walSum is the WAL's running checksum.
type walSum [2]uint32

func sumAt(b []byte) walSum {
	return walSum{binary.BigEndian.Uint32(b), binary.BigEndian.Uint32(b[4:])}
}

func (s walSum) add(order binary.ByteOrder, b []byte) walSum {
	for ; len(b) >= 8; b = b[8:] {
		s[0] += order.Uint32(b) + s[1]
		s[1] += order.Uint32(b[4:]) + s[0]
	}
	return s
}

func (s walSum) number() uint64 { return uint64(s[0])<<32 | uint64(s[1]) }
