package layer

import (
	"github.com/driftdb/driftdb-go/internal/cmem"
	"modernc.org/libc"
	lib "modernc.org/sqlite/lib"
)

// Methods are the methods of sqlite3_io_methods that a layer implements itself. A nil method,
// or one that the VFS below lacks, is left as it is.
type Methods struct {
	Close                 func(tls *libc.TLS, f File) int32
	Read                  func(tls *libc.TLS, f File, buf uintptr, n int32, offset int64) int32
	Write                 func(tls *libc.TLS, f File, buf uintptr, n int32, offset int64) int32
	Truncate              func(tls *libc.TLS, f File, size int64) int32
	Sync                  func(tls *libc.TLS, f File, flags int32) int32
	FileSize              func(tls *libc.TLS, f File, out uintptr) int32
	Lock                  func(tls *libc.TLS, f File, level int32) int32
	Unlock                func(tls *libc.TLS, f File, level int32) int32
	CheckReservedLock     func(tls *libc.TLS, f File, out uintptr) int32
	FileControl           func(tls *libc.TLS, f File, op int32, arg uintptr) int32
	SectorSize            func(tls *libc.TLS, f File) int32
	DeviceCharacteristics func(tls *libc.TLS, f File) int32
	ShmMap                func(tls *libc.TLS, f File, region, size, extend int32, out uintptr) int32
	ShmLock               func(tls *libc.TLS, f File, offset, n, flags int32) int32
	ShmBarrier            func(tls *libc.TLS, f File)
	ShmUnmap              func(tls *libc.TLS, f File, remove int32) int32
	Fetch                 func(tls *libc.TLS, f File, offset int64, n int32, out uintptr) int32
	Unfetch               func(tls *libc.TLS, f File, offset int64, p uintptr) int32
}

// put puts the layer's methods into a table that is a copy of the one below.
func (m *Methods) put(at *lib.Tsqlite3_io_methods) {
	set(&at.FxClose, m.Close, m.Close != nil)
	set(&at.FxRead, m.Read, m.Read != nil)
	set(&at.FxWrite, m.Write, m.Write != nil)
	set(&at.FxTruncate, m.Truncate, m.Truncate != nil)
	set(&at.FxSync, m.Sync, m.Sync != nil)
	set(&at.FxFileSize, m.FileSize, m.FileSize != nil)
	set(&at.FxLock, m.Lock, m.Lock != nil)
	set(&at.FxUnlock, m.Unlock, m.Unlock != nil)
	set(&at.FxCheckReservedLock, m.CheckReservedLock, m.CheckReservedLock != nil)
	set(&at.FxFileControl, m.FileControl, m.FileControl != nil)
	set(&at.FxSectorSize, m.SectorSize, m.SectorSize != nil)
	set(&at.FxDeviceCharacteristics, m.DeviceCharacteristics, m.DeviceCharacteristics != nil)
	if at.FiVersion >= 2 {
		set(&at.FxShmMap, m.ShmMap, m.ShmMap != nil)
		set(&at.FxShmLock, m.ShmLock, m.ShmLock != nil)
		set(&at.FxShmBarrier, m.ShmBarrier, m.ShmBarrier != nil)
		set(&at.FxShmUnmap, m.ShmUnmap, m.ShmUnmap != nil)
	}
	if at.FiVersion >= 3 {
		set(&at.FxFetch, m.Fetch, m.Fetch != nil)
		set(&at.FxUnfetch, m.Unfetch, m.Unfetch != nil)
	}
}

// set replaces a method with f if the VFS below has it.
func set[T any](method *uintptr, f T, is bool) {
	if is {
		put(method, f)
	}
}

func put[T any](method *uintptr, f T) {
	if *method != 0 {
		*method = cmem.CFunc(f)
	}
}

// Below is a file's methods in the VFS below.
type Below struct {
	file    uintptr
	methods *lib.Tsqlite3_io_methods
}

type (
	fileFunc    = func(*libc.TLS, uintptr) int32
	ioFunc      = func(*libc.TLS, uintptr, uintptr, int32, int64) int32
	sizeFunc    = func(*libc.TLS, uintptr, int64) int32
	intFunc     = func(*libc.TLS, uintptr, int32) int32
	outFunc     = func(*libc.TLS, uintptr, uintptr) int32
	controlFunc = func(*libc.TLS, uintptr, int32, uintptr) int32
	shmMapFunc  = func(*libc.TLS, uintptr, int32, int32, int32, uintptr) int32
	shmLockFunc = func(*libc.TLS, uintptr, int32, int32, int32) int32
	fetchFunc   = func(*libc.TLS, uintptr, int64, int32, uintptr) int32
	unfetchFunc = func(*libc.TLS, uintptr, int64, uintptr) int32
)

// Close calls the VFS below.
func (b Below) Close(tls *libc.TLS) int32 {
	return cmem.GoFunc[fileFunc](b.methods.FxClose)(tls, b.file)
}

// Read calls the VFS below.
func (b Below) Read(tls *libc.TLS, buf uintptr, n int32, offset int64) int32 {
	return cmem.GoFunc[ioFunc](b.methods.FxRead)(tls, b.file, buf, n, offset)
}

// Write calls the VFS below.
func (b Below) Write(tls *libc.TLS, buf uintptr, n int32, offset int64) int32 {
	return cmem.GoFunc[ioFunc](b.methods.FxWrite)(tls, b.file, buf, n, offset)
}

// Truncate calls the VFS below.
func (b Below) Truncate(tls *libc.TLS, size int64) int32 {
	return cmem.GoFunc[sizeFunc](b.methods.FxTruncate)(tls, b.file, size)
}

// Sync calls the VFS below.
func (b Below) Sync(tls *libc.TLS, flags int32) int32 {
	return cmem.GoFunc[intFunc](b.methods.FxSync)(tls, b.file, flags)
}

// FileSize calls the VFS below.
func (b Below) FileSize(tls *libc.TLS, out uintptr) int32 {
	return cmem.GoFunc[outFunc](b.methods.FxFileSize)(tls, b.file, out)
}

// Lock calls the VFS below.
func (b Below) Lock(tls *libc.TLS, level int32) int32 {
	return cmem.GoFunc[intFunc](b.methods.FxLock)(tls, b.file, level)
}

// Unlock calls the VFS below.
func (b Below) Unlock(tls *libc.TLS, level int32) int32 {
	return cmem.GoFunc[intFunc](b.methods.FxUnlock)(tls, b.file, level)
}

// CheckReservedLock calls the VFS below.
func (b Below) CheckReservedLock(tls *libc.TLS, out uintptr) int32 {
	return cmem.GoFunc[outFunc](b.methods.FxCheckReservedLock)(tls, b.file, out)
}

// FileControl calls the VFS below.
func (b Below) FileControl(tls *libc.TLS, op int32, arg uintptr) int32 {
	return cmem.GoFunc[controlFunc](b.methods.FxFileControl)(tls, b.file, op, arg)
}

// SectorSize calls the VFS below.
func (b Below) SectorSize(tls *libc.TLS) int32 {
	return cmem.GoFunc[fileFunc](b.methods.FxSectorSize)(tls, b.file)
}

// DeviceCharacteristics calls the VFS below.
func (b Below) DeviceCharacteristics(tls *libc.TLS) int32 {
	return cmem.GoFunc[fileFunc](b.methods.FxDeviceCharacteristics)(tls, b.file)
}

// ShmMap calls the VFS below.
func (b Below) ShmMap(tls *libc.TLS, region, size, extend int32, out uintptr) int32 {
	return cmem.GoFunc[shmMapFunc](b.methods.FxShmMap)(tls, b.file, region, size, extend, out)
}

// ShmLock calls the VFS below.
func (b Below) ShmLock(tls *libc.TLS, offset, n, flags int32) int32 {
	return cmem.GoFunc[shmLockFunc](b.methods.FxShmLock)(tls, b.file, offset, n, flags)
}

// ShmBarrier calls the VFS below.
func (b Below) ShmBarrier(tls *libc.TLS) {
	cmem.GoFunc[func(*libc.TLS, uintptr)](b.methods.FxShmBarrier)(tls, b.file)
}

// ShmUnmap calls the VFS below.
func (b Below) ShmUnmap(tls *libc.TLS, remove int32) int32 {
	return cmem.GoFunc[intFunc](b.methods.FxShmUnmap)(tls, b.file, remove)
}

// Fetch calls the VFS below.
func (b Below) Fetch(tls *libc.TLS, offset int64, n int32, out uintptr) int32 {
	return cmem.GoFunc[fetchFunc](b.methods.FxFetch)(tls, b.file, offset, n, out)
}

// Unfetch calls the VFS below.
func (b Below) Unfetch(tls *libc.TLS, offset int64, p uintptr) int32 {
	return cmem.GoFunc[unfetchFunc](b.methods.FxUnfetch)(tls, b.file, offset, p)
}
