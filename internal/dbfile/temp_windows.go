package dbfile

import "os"

// isPrivate reports whether the folder is one: the folder for temporary files is the user's own.
func isPrivate(folder string) bool {
	info, err := os.Lstat(folder)
	return err == nil && info.IsDir()
}
