package layer

import (
	"github.com/driftdb/driftdb-go/internal/cmem"
	"modernc.org/libc"
	lib "modernc.org/sqlite/lib"
)

// The methods of an sqlite3_vfs get its address. The VFS below must get its own, so a layer
// forwards each call.

type (
	openFunc   = func(tls *libc.TLS, vfs, name, file uintptr, flags int32, outFlags uintptr) int32
	deleteFunc = func(tls *libc.TLS, vfs, name uintptr, syncDir int32) int32
	accessFunc = func(tls *libc.TLS, vfs, name uintptr, flags int32, out uintptr) int32
	numberFunc = func(tls *libc.TLS, vfs uintptr, n int32, out uintptr) int32 // takes a number and an address
	nameFunc   = func(tls *libc.TLS, vfs, name uintptr, size int32, out uintptr) int32
	getFunc    = func(tls *libc.TLS, vfs, a uintptr) uintptr
	symbolFunc = func(tls *libc.TLS, vfs, handle, symbol uintptr) uintptr
	errorFunc  = func(tls *libc.TLS, vfs uintptr, n int32, out uintptr)
	closeFunc  = func(tls *libc.TLS, vfs, handle uintptr)
	sleepFunc  = func(tls *libc.TLS, vfs uintptr, microseconds int32) int32
	timeFunc   = func(tls *libc.TLS, vfs, out uintptr) int32
	setFunc    = func(tls *libc.TLS, vfs, name, fn uintptr) int32
)

func (v *VFS) below() *lib.Tsqlite3_vfs { return cmem.At[lib.Tsqlite3_vfs](v.base) }

// forward fills in the methods of the layer's sqlite3_vfs, which is a copy of the one below.
// Methods that the one below lacks stay missing.
func (v *VFS) forward(at *lib.Tsqlite3_vfs) {
	b := v.below()
	forwarding(v, &at.FxOpen, v.xOpen)
	forwarding(v, &at.FxDelete, v.xDelete)
	forwarding(v, &at.FxAccess, v.xAccess)
	forwarding(v, &at.FxFullPathname, func(tls *libc.TLS, _, name uintptr, size int32, out uintptr) int32 {
		return cmem.GoFunc[nameFunc](b.FxFullPathname)(tls, v.base, name, size, out)
	})
	forwarding(v, &at.FxDlOpen, func(tls *libc.TLS, _, name uintptr) uintptr {
		return cmem.GoFunc[getFunc](b.FxDlOpen)(tls, v.base, name)
	})
	forwarding(v, &at.FxDlError, func(tls *libc.TLS, _ uintptr, n int32, out uintptr) {
		cmem.GoFunc[errorFunc](b.FxDlError)(tls, v.base, n, out)
	})
	forwarding(v, &at.FxDlSym, func(tls *libc.TLS, _, handle, symbol uintptr) uintptr {
		return cmem.GoFunc[symbolFunc](b.FxDlSym)(tls, v.base, handle, symbol)
	})
	forwarding(v, &at.FxDlClose, func(tls *libc.TLS, _, handle uintptr) {
		cmem.GoFunc[closeFunc](b.FxDlClose)(tls, v.base, handle)
	})
	forwarding(v, &at.FxRandomness, func(tls *libc.TLS, _ uintptr, n int32, out uintptr) int32 {
		return cmem.GoFunc[numberFunc](b.FxRandomness)(tls, v.base, n, out)
	})
	forwarding(v, &at.FxSleep, func(tls *libc.TLS, _ uintptr, us int32) int32 {
		return cmem.GoFunc[sleepFunc](b.FxSleep)(tls, v.base, us)
	})
	forwarding(v, &at.FxCurrentTime, func(tls *libc.TLS, _, out uintptr) int32 {
		return cmem.GoFunc[timeFunc](b.FxCurrentTime)(tls, v.base, out)
	})
	forwarding(v, &at.FxGetLastError, func(tls *libc.TLS, _ uintptr, n int32, out uintptr) int32 {
		return cmem.GoFunc[numberFunc](b.FxGetLastError)(tls, v.base, n, out)
	})
	if b.FiVersion >= 2 {
		forwarding(v, &at.FxCurrentTimeInt64, func(tls *libc.TLS, _, out uintptr) int32 {
			return cmem.GoFunc[timeFunc](b.FxCurrentTimeInt64)(tls, v.base, out)
		})
	}
	if b.FiVersion >= 3 {
		forwarding(v, &at.FxSetSystemCall, func(tls *libc.TLS, _, name, fn uintptr) int32 {
			return cmem.GoFunc[setFunc](b.FxSetSystemCall)(tls, v.base, name, fn)
		})
		forwarding(v, &at.FxGetSystemCall, func(tls *libc.TLS, _, name uintptr) uintptr {
			return cmem.GoFunc[getFunc](b.FxGetSystemCall)(tls, v.base, name)
		})
		forwarding(v, &at.FxNextSystemCall, func(tls *libc.TLS, _, name uintptr) uintptr {
			return cmem.GoFunc[getFunc](b.FxNextSystemCall)(tls, v.base, name)
		})
	}
}

// forwarding replaces a method with f if the VFS below has it.
func forwarding[T any](v *VFS, method *uintptr, f T) {
	put(method, f)
	v.kept = append(v.kept, f)
}

func (v *VFS) xOpen(tls *libc.TLS, _, name, file uintptr, flags int32, outFlags uintptr) int32 {
	*v.methods(File(file)) = 0
	if v.hooks.Open == nil {
		return v.Open(tls, name, File(file), flags, outFlags)
	}
	clear(cmem.Bytes(v.State(File(file)), int(v.size)))
	return v.hooks.Open(tls, name, File(file), flags, outFlags)
}

func (v *VFS) xDelete(tls *libc.TLS, _, name uintptr, syncDir int32) int32 {
	if v.hooks.Delete == nil {
		return v.Delete(tls, name, syncDir)
	}
	return v.hooks.Delete(tls, name, syncDir)
}

func (v *VFS) xAccess(tls *libc.TLS, _, name uintptr, flags int32, out uintptr) int32 {
	if v.hooks.Access == nil {
		return v.Access(tls, name, flags, out)
	}
	return v.hooks.Access(tls, name, flags, out)
}

// Open opens f in the VFS below.
func (v *VFS) Open(tls *libc.TLS, name uintptr, f File, flags int32, outFlags uintptr) int32 {
	return cmem.GoFunc[openFunc](v.below().FxOpen)(tls, v.base, name, uintptr(f), flags, outFlags)
}

// Delete deletes a file in the VFS below.
func (v *VFS) Delete(tls *libc.TLS, name uintptr, syncDir int32) int32 {
	if v.below().FxDelete == 0 {
		return lib.SQLITE_OK // as SQLite treats a missing xDelete
	}
	return cmem.GoFunc[deleteFunc](v.below().FxDelete)(tls, v.base, name, syncDir)
}

// Access asks the VFS below whether a file exists or is accessible.
func (v *VFS) Access(tls *libc.TLS, name uintptr, flags int32, out uintptr) int32 {
	return cmem.GoFunc[accessFunc](v.below().FxAccess)(tls, v.base, name, flags, out)
}
