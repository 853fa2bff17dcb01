package dbfile

import "fmt"

// Dangers returns what about the place can sooner or later cost data.
func (f *File) Dangers() (dangers []string) {
	if kind, unsafe := f.unsafeFileSystem(); unsafe {
		dangers = append(dangers, fmt.Sprintf("the database is on a file system (%s) on which SQLite's WAL can break, and the database with it; keep it on a local disk", kind))
	}
	if f.isMount() {
		dangers = append(dangers, "the database file is a mount of its own, and the files that SQLite keeps beside it are not: what is in them is lost when the mount goes elsewhere; mount the folder instead")
	}
	return dangers
}
