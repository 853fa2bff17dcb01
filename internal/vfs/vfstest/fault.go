package vfstest

import (
	"strings"

	lib "modernc.org/sqlite/lib"
)

// Fault makes operations fail.
type Fault struct {
	On    Kind   // Read, Write, Truncate or Sync
	Of    string // how the names of the files end; "" is all
	At    int    // the first that fails: 1 is the next one
	Times int    // how many fail in a row
	How   How
	Bit   uint // the one that Flip flips, counted from the beginning of what is read, and around
}

// How says how an operation fails.
type How string

// The ways to fail. A sync that fails loses what was written since the last one, and the
// next one succeeds all the same: what was written stays readable, and is gone after power
// loss, as on Linux, whatever the file system.
const (
	EIO    How = "EIO"    // nothing is done
	ENOSPC How = "ENOSPC" // nothing is done: the disk is full
	Short  How = "short"  // half is written, then the disk is full
	Torn   How = "torn"   // some sectors are written, then EIO
	Flip   How = "flip"   // a read succeeds, with a bit that is wrong
	Lie    How = "lie"    // a sync succeeds, and nothing has been synced
)

// code is SQLite's for an operation that fails.
var code = map[Kind]int32{
	Read: lib.SQLITE_IOERR_READ, Write: lib.SQLITE_IOERR_WRITE, Truncate: lib.SQLITE_IOERR_TRUNCATE, Sync: lib.SQLITE_IOERR_FSYNC,
}

// Inject sets the fault; the zero value ends it.
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

// hits says whether an operation is to fail. The caller has mu.
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

// fails says how many of n bytes an operation still does, and the code that it returns
// then.
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

// read spoils what a read has returned.
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

// lose is an fsync that fails: the kernel takes the pages for clean, and never writes
// them. The caller has mu.
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
