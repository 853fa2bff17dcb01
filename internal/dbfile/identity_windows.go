package dbfile

import (
	"io/fs"
	"os"

	"golang.org/x/sys/windows"
)

// identify returns the ID of the file at path.
func identify(path string) (ID, error) {
	id, _, err := identifyLinks(path)
	return id, err
}

// identifyLinks is identify, and returns how many names the file has.
func identifyLinks(path string) (ID, uint64, error) {
	name, err := windows.UTF16PtrFromString(path)
	if err != nil {
		return ID{}, 0, &os.PathError{Op: "identify", Path: path, Err: err}
	}
	const share = windows.FILE_SHARE_READ | windows.FILE_SHARE_WRITE | windows.FILE_SHARE_DELETE
	h, err := windows.CreateFile(name, windows.FILE_READ_ATTRIBUTES, share, nil, windows.OPEN_EXISTING, windows.FILE_FLAG_BACKUP_SEMANTICS, 0)
	if err != nil {
		return ID{}, 0, &os.PathError{Op: "identify", Path: path, Err: err}
	}
	defer windows.CloseHandle(h)
	return idOf(h)
}

// sizeOf is the size of a file in bytes.
func sizeOf(path string) (int64, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// identifyHandle returns the ID of the file behind one of SQLite's handles.
func identifyHandle(handle uintptr) (ID, error) {
	id, _, err := idOf(windows.Handle(handle))
	return id, err
}

func idOf(h windows.Handle) (id ID, links uint64, err error) {
	var info windows.ByHandleFileInformation
	if err := windows.GetFileInformationByHandle(h, &info); err != nil {
		return ID{}, 0, os.NewSyscallError("GetFileInformationByHandle", err)
	}
	return ID{uint64(info.VolumeSerialNumber), uint64(info.FileIndexHigh)<<32 | uint64(info.FileIndexLow)}, uint64(info.NumberOfLinks), nil
}

// keepOwner does nothing: on Windows the inherited access control list of the folder counts.
func keepOwner(string, fs.FileInfo) error { return nil }

func mayKeepOwner(string, fs.FileInfo) error { return nil }
