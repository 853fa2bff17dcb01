package dbfile

import "os"

// isPrivate reports whether folder is a folder: the one for temporary files is the user's own.
func isPrivate(folder string) bool {
	info, err := os.Lstat(folder)
	return err == nil && info.IsDir()
}
