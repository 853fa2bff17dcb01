package dbfile

import (
	"fmt"
	"os"
	"path/filepath"
)

// NewMemory makes a working folder for a database that is not kept, in the
// system's folder for temporary files. All of a user's are in one folder there,
// so that those of crashed processes are found without reading what others have
// left.
func NewMemory() (*Work, error) {
	base := filepath.Join(os.TempDir(), fmt.Sprintf("driftdb-%d", os.Getuid()))
	if err := os.Mkdir(base, 0o700); err == nil || isPrivate(base) {
		w, err := newWork(base)
		if err != nil || isPrivate(base) { // still: it may have been removed and made anew
			return w, err
		}
		if err := w.Close(); err != nil {
			return nil, err
		}
	}
	// Somebody else has taken the name: a folder that only we know of, then.
	base, err := os.MkdirTemp("", "driftdb-")
	if err != nil {
		return nil, err
	}
	return newWork(base)
}
