package restore

// syncFolder does nothing: Windows has no call for it, and NTFS journals its
// folders.
func syncFolder(string) error { return nil }
