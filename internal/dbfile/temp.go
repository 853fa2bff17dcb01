package dbfile

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// TakeTemp takes a place for a database that is not kept: file and place are gone with
// Release.
func TakeTemp() (*File, error) {
	w, err := NewTemp()
	if err != nil {
		return nil, err
	}
	f, err := Take(w.Path())
	if err != nil {
		return nil, errors.Join(err, w.Close())
	}
	f.temp = w
	return f, nil
}

// NewTemp makes a working folder for a database that is not kept, in the system's
// folder for temporary files. All of a user's are in one folder there, so that
// those of crashed processes are found without reading what others have left.
func NewTemp() (*Work, error) {
	base := filepath.Join(os.TempDir(), fmt.Sprintf("driftdb-%d", os.Getuid()))
	if err := os.Mkdir(base, 0o700); err == nil || isPrivate(base) {
		w, err := newWork(base)
		if err != nil || isPrivate(base) { // still: it may have been removed and created again
			return w, err
		}
		if err := w.Close(); err != nil {
			return nil, err
		}
	}
	// Somebody else has taken the name: another folder of ours, then, which the next
	// one finds, too, with what a crash leaves in it.
	others, err := filepath.Glob(filepath.Join(os.TempDir(), "driftdb-[0-9]*"))
	if err != nil {
		return nil, err
	}
	for _, base := range others {
		if isPrivate(base) {
			return newWork(base)
		}
	}
	if base, err = os.MkdirTemp("", "driftdb-"); err != nil {
		return nil, err
	}
	return newWork(base)
}
