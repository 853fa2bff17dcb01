package objstore

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"

	"github.com/fsnotify/fsnotify"
)

// Watch tells what happens to the object's file, as the operating system reports it.
func (d *dir) Watch(ctx context.Context, key string) (<-chan struct{}, error) {
	root, err := d.begin(ctx, key)
	if err != nil {
		return nil, d.failed("watch", key, err)
	}
	if err := root.Close(); err != nil {
		return nil, d.failed("watch", key, err)
	}
	w, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, d.failed("watch", key, err)
	}
	// The folder, and not the file: each Put moves another file into its place.
	file := filepath.Join(d.path, filepath.FromSlash(key))
	if err := w.Add(filepath.Dir(file)); err != nil {
		return nil, d.failed("watch", key, errors.Join(err, w.Close()))
	}
	told := make(chan struct{}, 1)
	go func() {
		defer close(told)
		defer w.Close() // nothing is lost if it fails: the descriptor goes with the process
		_ = relay(ctx, w, file, told)
	}()
	return told, nil
}

// relay passes on what concerns file until ctx ends, or the watcher can no longer tell.
func relay(ctx context.Context, w *fsnotify.Watcher, file string, told chan<- struct{}) error {
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case e, ok := <-w.Events:
			if !ok || e.Name == filepath.Dir(file) && e.Has(fsnotify.Remove|fsnotify.Rename) {
				return fmt.Errorf("%s is gone", filepath.Dir(file))
			}
			if e.Name != file {
				continue
			}
		case err, ok := <-w.Errors:
			if !ok || !errors.Is(err, fsnotify.ErrEventOverflow) {
				return err
			}
		}
		tell(told)
	}
}

// tell sends a value unless one waits already.
func tell(told chan<- struct{}) {
	select {
	case told <- struct{}{}:
	default:
	}
}
