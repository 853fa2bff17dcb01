//go:build unix && !linux

package dbfile

// lockHandle does nothing: this system has no lock on a file that does not end
// when any of the process's descriptors of it is closed. The name's lock has to
// do, and hard links of one file are not kept apart.
func lockHandle(uintptr) error { return nil }

func unlockHandle(uintptr) error { return nil }
