//go:build unix && !linux

package dbfile

// lockHandle does nothing: on this system every lock on a file ends when any of the process's
// descriptors of it is closed. The name's lock must do, and hard links to one file are not
// kept apart.
func lockHandle(uintptr) error { return nil }

func unlockHandle(uintptr) error { return nil }
