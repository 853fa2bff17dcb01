package dbfile

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
)

// TakeTemp claims a place for a database that is not kept: Release removes the file and the
// place.
func TakeTemp() (*File, error) {
	w, err := NewTemp()
	if err != nil {
		return nil, err
	}
	return takeWork(w)
}

// TakeBeside is TakeTemp with the place in a working folder beside the database at path, on
// the same disk.
func TakeBeside(path string) (*File, error) {
	w, err := NewWork(path)
	if err != nil {
		return nil, err
	}
	return takeWork(w)
}

func takeWork(w *Work) (*File, error) {
	f, err := Take(w.Path())
	if err != nil {
		return nil, errors.Join(err, w.Close())
	}
	f.temp = w
	return f, nil
}

// NewTemp creates a working folder for a database that is not kept, in the system's folder for
// temporary files. All working folders of a user are in one folder there, so that leftovers of
// crashed processes are found without reading other users' files.
func NewTemp() (*Work, error) {
	base := filepath.Join(os.TempDir(), fmt.Sprintf("driftdb-%d", os.Getuid()))
	if err := os.Mkdir(base, 0o700); err == nil || isPrivate(base) {
		w, err := newWork(base)
		if err != nil || isPrivate(base) { // still private: it may have been removed and created again
			return w, err
		}
		if err := w.Close(); err != nil {
			return nil, err
		}
	}
	// Another user has taken the name. Use another folder of ours, which later processes find
	// too, along with what a crash leaves in it.
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
