package objstore

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"syscall"
	"time"
)

const (
	privateDir = ".objstore"
	tempDir    = privateDir + "/tmp"
	lockFile   = privateDir + "/lock"

	// tempAge is how long a temporary file must be untouched before it counts as left over
	// from a crash.
	tempAge = 24 * time.Hour
	// lockPoll is how often to try the file lock. The lock is held for only a few
	// milliseconds, and waiting for it must end with the context.
	lockPoll = time.Millisecond
)

func newTempName() string { return tempDir + "/" + rand.Text() }

// prepare creates the store's own folder with the mark in it, and sweeps it once per
// store.
func (d *dir) prepare(ctx context.Context, root *os.Root) error {
	for _, name := range []string{privateDir, tempDir} {
		if err := ownFolder(root, name); err != nil {
			return err
		}
	}
	if err := d.sign(ctx, root); err != nil {
		return err
	}
	d.sweep.Do(func() { sweep(root) })
	return nil
}

// ownFolder creates one of the store's own folders. It refuses a link, wherever it leads,
// because sweep would remove objects there.
func ownFolder(root *os.Root, name string) error {
	err := root.Mkdir(name, 0o700)
	if !errors.Is(err, fs.ErrExist) {
		return err
	}
	fi, err := root.Lstat(name)
	if err == nil && !fi.IsDir() {
		err = fmt.Errorf("%s must be a folder, but is not: remove it", name)
	}
	return err
}

// sweep removes temporary files that have not been written to for a day. It is
// housekeeping, so it ignores errors: a leftover costs only space, may be gone already, or
// may belong to another user.
func sweep(root *os.Root) {
	entries, _ := readDir(root, tempDir)
	for _, e := range entries {
		if fi, err := e.Info(); err == nil && time.Since(fi.ModTime()) > tempAge {
			_ = root.Remove(tempDir + "/" + e.Name())
		}
	}
}

// lock takes the lock under which every change of names is made. The lock file is opened
// through root, like everything else: its path might lead to another folder, whose lock
// would exclude no other user of this one.
func (d *dir) lock(ctx context.Context, root *os.Root) (unlock func(), err error) {
	select {
	case d.turn <- struct{}{}:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	file, err := lockedFile(ctx, root)
	if err != nil {
		<-d.turn
		return nil, fmt.Errorf("lock the folder: %w", err)
	}
	return func() {
		_ = file.Close() // also releases the lock
		<-d.turn
	}, nil
}

// lockedFile opens the lock file and waits until it has the lock. It opens the file anew
// each time: locks of two open files exclude each other even within one process. It opens
// it for writing, because some file systems, such as NFS, do not lock files opened for
// reading.
func lockedFile(ctx context.Context, root *os.Root) (*os.File, error) {
	file, err := openOwn(root, lockFile, os.O_RDWR|os.O_CREATE)
	if err != nil {
		return nil, err
	}
	for {
		locked, err := tryLock(file)
		if err != nil {
			return nil, errors.Join(err, file.Close())
		}
		if locked {
			return file, nil
		}
		if err := pause(ctx, lockPoll); err != nil {
			return nil, errors.Join(err, file.Close())
		}
	}
}

// pause waits for d, or returns the error of ctx if that ends first.
func pause(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// publish moves the temporary file into place and makes that durable. The
// caller holds the lock.
func (d *dir) publish(ctx context.Context, root *os.Root, temp, key string, create bool) error {
	err := d.place(ctx, root, temp, key, create)
	if missing(err) {
		// Another process has deleted a folder that was settled.
		clear(d.settled)
		err = d.place(ctx, root, temp, key, create)
	}
	if err != nil {
		return err
	}
	return syncFolder(root, path.Dir(key))
}

func (d *dir) place(ctx context.Context, root *os.Root, temp, key string, create bool) error {
	if err := d.settle(root, path.Dir(key)); err != nil {
		return err
	}
	return move(ctx, root, temp, key, create)
}

// move gives the temporary file its name. A hard link never replaces anything, so creating
// is safe even where file locks do not work. On a file system without hard links a rename
// is as good, because the caller holds the lock and has checked the name.
func move(ctx context.Context, root *os.Root, temp, key string, create bool) error {
	if create {
		err := root.Link(temp, key)
		if errors.Is(err, fs.ErrExist) {
			return ErrPrecondition
		}
		if err == nil || missing(err) {
			return err
		}
	}
	return untilFree(ctx, func() error { return root.Rename(temp, key) })
}

// settle creates a folder and its ancestors, and syncs the parent of each.
func (d *dir) settle(root *os.Root, folder string) error {
	if folder == "." || d.settled[folder] {
		return nil
	}
	parent := path.Dir(folder)
	if err := d.settle(root, parent); err != nil {
		return err
	}
	err := root.Mkdir(folder, 0o700)
	if errors.Is(err, fs.ErrExist) {
		var fi fs.FileInfo
		if fi, err = root.Stat(folder); err == nil && !fi.IsDir() {
			err = fmt.Errorf("%w: %s is an object; a file system cannot have both", errors.ErrUnsupported, folder)
		}
	}
	if err != nil {
		return err
	}
	// This includes an existing folder: its creator may have died before the sync.
	if err := syncFolder(root, parent); err != nil {
		return err
	}
	d.settled[folder] = true
	return nil
}

// prune removes folder and its ancestors as long as they are empty, and returns the lowest
// one that stays. The caller holds the lock.
func (d *dir) prune(root *os.Root, folder string) string {
	for ; folder != "."; folder = path.Dir(folder) {
		fi, err := root.Lstat(folder)
		if err == nil && !fi.IsDir() {
			break // a symbolic link is the user's
		}
		// Usually this fails because the folder is not empty. Other failures do no harm:
		// an empty folder is not listed.
		if err := root.Remove(folder); err != nil && !missing(err) {
			break
		}
		delete(d.settled, folder)
	}
	return folder
}

func readDir(root *os.Root, name string) ([]fs.DirEntry, error) {
	f, err := openAtOnce(root, name)
	if err != nil {
		return nil, err
	}
	entries, err := f.ReadDir(-1)
	return entries, errors.Join(err, f.Close())
}

// openAtOnce opens a file or folder for reading. If it is a pipe, the open does not wait
// for a writer; see regular.
func openAtOnce(root *os.Root, name string) (*os.File, error) {
	f, err := root.OpenFile(name, os.O_RDONLY|nonBlock, 0)
	if errors.Is(err, syscall.ENXIO) {
		err = fmt.Errorf("%w: %s is a socket, not a file: remove it", errors.ErrUnsupported, name)
	}
	return f, err
}

// openOwn opens one of the store's own files, which must be a regular file.
func openOwn(root *os.Root, name string, flag int) (*os.File, error) {
	f, err := root.OpenFile(name, flag|nonBlock, 0o600)
	if err != nil {
		return nil, err
	}
	fi, err := f.Stat()
	if err == nil {
		err = regular(name, fi)
	}
	if err == nil {
		var named fs.FileInfo
		if named, err = root.Lstat(name); err == nil && named.Mode()&fs.ModeSymlink != 0 {
			err = fmt.Errorf("%w: %s is a link: remove it", errors.ErrUnsupported, name)
		}
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// regular refuses anything in the folder that holds no bytes, such as a pipe, a socket or
// a device. The error is not "missing", so that no caller concludes that there never was a
// backup.
func regular(name string, fi fs.FileInfo) error {
	if !fi.Mode().IsRegular() {
		return fmt.Errorf("%w: %s is not a regular file (%v): remove it", errors.ErrUnsupported, name, fi.Mode())
	}
	return nil
}
