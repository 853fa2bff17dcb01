package dbfile

import (
	"path/filepath"

	"golang.org/x/sys/unix"
)

// unsafeTypes are file systems on which two processes may not see each other's locks, or may
// not share the same memory. SQLite's WAL needs both.
var unsafeTypes = map[uint32]string{
	unix.NFS_SUPER_MAGIC:  "NFS",
	unix.SMB_SUPER_MAGIC:  "SMB",
	unix.SMB2_SUPER_MAGIC: "SMB",
	unix.CIFS_SUPER_MAGIC: "SMB",
	unix.V9FS_MAGIC:       "9p",
	unix.FUSE_SUPER_MAGIC: "FUSE or virtiofs",
	unix.AFS_SUPER_MAGIC:  "AFS",
	unix.CEPH_SUPER_MAGIC: "Ceph",
}

// unsafeFileSystem names the database's file system if SQLite's WAL is known to break on it.
func (f *File) unsafeFileSystem() (kind string, unsafe bool) {
	var st unix.Statfs_t
	if err := unix.Statfs(filepath.Dir(f.path), &st); err != nil {
		return "", false
	}
	kind, unsafe = unsafeTypes[uint32(st.Type)]
	return kind, unsafe
}

// isMount reports whether the file itself is a mount, apart from its folder.
func (f *File) isMount() bool {
	mount := func(path string) (id uint64, ok bool) {
		var st unix.Statx_t
		err := unix.Statx(unix.AT_FDCWD, path, unix.AT_SYMLINK_NOFOLLOW, unix.STATX_MNT_ID, &st)
		return st.Mnt_id, err == nil && st.Mask&unix.STATX_MNT_ID != 0
	}
	file, ok := mount(f.path)
	folder, known := mount(filepath.Dir(f.path))
	return ok && known && file != folder
}
