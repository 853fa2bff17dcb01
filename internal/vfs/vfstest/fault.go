package vfstest

import (
	"strings"

	lib "modernc.org/sqlite/lib"
)

// Fault makes operations fail.
type Fault struct {
	On    Kind   // Read, Write, Truncate or Sync
	Of    string // suffix of the files' names; "" means all
	At    int    // the first operation that fails: 1 is the next one
	Times int    // how many fail in a row
	How   How
	Bit   uint // the bit that Flip flips, counted from the start of the read, modulo its length
}

// How is how an operation fails.
type How string

// The ways to fail. A failed sync loses what was written since the last one, and the next sync
// succeeds all the same: what was written stays readable, and is gone after power loss. Linux
// behaves like that on any file system.
const (
	EIO    How = "EIO"    // nothing is done
	ENOSPC How = "ENOSPC" // nothing is done: the disk is full
	Short  How = "short"  // half is written, then the disk is full
	Torn   How = "torn"   // some sectors are written, then EIO
	Flip   How = "flip"   // a read succeeds with a wrong bit
	Lie    How = "lie"    // a sync succeeds, but nothing is synced
)

// code is SQLite's result code for a failed operation.
var code = map[Kind]int32{
	Read: lib.SQLITE_IOERR_READ, Write: lib.SQLITE_IOERR_WRITE, Truncate: lib.SQLITE_IOERR_TRUNCATE, Sync: lib.SQLITE_IOERR_FSYNC,
}

// Inject sets the fault; the zero value clears it.
func (d *Disk) Inject(f Fault) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fault, d.seen, d.fired = f, 0, 0
}

// Fired is how many operations have failed since the last Inject.
func (d *Disk) Fired() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.fired
}

// hits reports whether an operation must fail. The caller holds mu.
func (d *Disk) hits(k Kind, f *file) bool {
	d.counts[k]++
	if d.fault.On != k || !strings.HasSuffix(f.path, d.fault.Of) {
		return false
	}
	d.seen++
	if d.seen < d.fault.At || d.fired >= d.fault.Times {
		return false
	}
	d.fired++
	return true
}

// fails returns how many of n bytes an operation still processes, and the code that it then
// returns.
func (d *Disk) fails(k Kind, f *file, n int) (does int, rc int32) {
	if !d.hits(k, f) {
		return n, lib.SQLITE_OK
	}
	switch d.fault.How {
	case ENOSPC:
		return 0, lib.SQLITE_FULL
	case Short:
		return n / 2, lib.SQLITE_FULL
	case Torn:
		return n / 2 / sector * sector, code[k]
	}
	return 0, code[k]
}

// read applies a fault to what a read has returned.
func (d *Disk) read(f *file, b []byte, rc int32) int32 {
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case rc != lib.SQLITE_OK || len(b) == 0 || !d.hits(Read, f):
		return rc
	case d.fault.How == Flip:
		bit := d.fault.Bit % uint(8*len(b))
		b[bit/8] ^= 1 << (bit % 8)
		return rc
	}
	return code[Read]
}

// lose simulates a failed fsync: the kernel marks the pages clean and never writes them. The
// caller holds mu.
func (d *Disk) lose(f *file) {
	synced := 0
	for _, op := range d.ops {
		if op.Kind == Sync && op.file == f {
			synced = max(synced, op.from)
		}
	}
	for i := synced; i < len(d.ops); i++ {
		if d.ops[i].file == f {
			d.ops[i].lost = true
		}
	}
}
