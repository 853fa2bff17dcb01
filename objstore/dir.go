package objstore

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
)

// Dir returns a store that keeps each object as a file of the same name in an existing
// folder. A missing folder is an error that wraps [ErrNoBucket], so that no backup lands
// in the empty mount point of a disk that is not mounted.
//
// The store remembers which folder it is. The first Put marks it with the file
// ".objstore/id", which has a random ID; until then, the folder's device and inode
// identify it. Each call checks that the path still leads to that folder. If it does not,
// because the disk was unmounted or another one was mounted, the call reads and writes
// nothing and returns [ErrFolderReplaced]. Once the folder is back, the store works
// again; it also works if the path leads to a copy with the same mark. To use another
// folder under the same path, call Dir again.
//
// Any number of stores, goroutines and processes can use the folder at the same time,
// even on a network file system, if it has file locks or hard links. A Put writes a
// temporary file, syncs it, moves it into place, and syncs the folder. It creates an
// object with a hard link; replacing and deleting take a file lock. On some file systems
// and in some versions of Windows, an object cannot be replaced or deleted while a reader
// has it open: that is retried for 2 seconds. Lock and temporary files are in the folder
// ".objstore", which the first Put creates; what a crash leaves there is removed after a
// day. Files and folders are accessible only to their owner (modes 0600 and 0700).
//
// An ETag is a hash of the file, so Get reads an object once more than it returns it, and
// List leaves the ETag empty.
//
// A file system cannot hold every key. A Put returns an error that wraps
// [errors.ErrUnsupported] for a key whose first element is ".objstore", that has an
// element that is too long (usually over 255 bytes) or that Windows reserves or changes
// (such as "NUL", "a:b" or "a."), and for "x" or "x/y" if the other one exists. If the
// file system treats "A" and "a" as the same name, so does the store. Symbolic links are
// followed only if they stay inside the folder, and are not listed. Anything that is not
// a file, such as a pipe, is not listed either, and a Get of it returns an error at once.
// In ".objstore", links are refused.
func Dir(path string) (Store, error) {
	if path == "" {
		return nil, errors.New("objstore: the store's folder has no path")
	}
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, fmt.Errorf("objstore: find the folder %s: %w", path, err)
	}
	d := &dir{path: abs, turn: make(chan struct{}, 1), settled: make(map[string]bool)}
	root, err := d.open()
	if err != nil {
		return nil, err
	}
	if err := root.Close(); err != nil {
		return nil, fmt.Errorf("objstore: close the folder %s: %w", abs, err)
	}
	return d, nil
}

type dir struct {
	path     string
	identity identity
	etags    etagCache
	sweep    sync.Once

	// turn is the part of the lock between goroutines of this store; the lock file is the
	// part between processes. The holder of both may use settled: the folders that were
	// created and synced, so that a Put need not do it again.
	turn    chan struct{}
	settled map[string]bool
}

// open opens the folder again for each call, so that a Store needs no Close, and an
// unmounted disk is noticed. The call does everything through this one handle, which has
// been checked: whatever is mounted or unmounted at the path meanwhile, nothing lands in
// another folder.
func (d *dir) open() (*os.Root, error) {
	root, err := d.openPath()
	if err != nil {
		return nil, err
	}
	if err := d.identity.check(root); err != nil {
		return nil, errors.Join(err, root.Close())
	}
	return root, nil
}

func (d *dir) openPath() (*os.Root, error) {
	root, err := os.OpenRoot(d.path)
	if missing(err) {
		// This must not look like a missing object, which is an ordinary answer.
		return nil, fmt.Errorf("%w: the folder %s does not exist; create it (mkdir -p), or mount its disk", ErrNoBucket, d.path)
	}
	if err != nil {
		if fi, statErr := os.Stat(d.path); statErr == nil && !fi.IsDir() {
			return nil, fmt.Errorf("%w: %s is not a folder", ErrNoBucket, d.path)
		}
		return nil, fmt.Errorf("open the folder: %w", err)
	}
	return root, nil
}

// begin checks the call and opens the folder.
func (d *dir) begin(ctx context.Context, key string) (*os.Root, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if err := ValidKey(key); err != nil {
		return nil, err
	}
	if isPrivate(key) {
		return nil, fmt.Errorf("%w: %s is the store's own folder", errors.ErrUnsupported, privateDir)
	}
	if _, err := filepath.Localize(key); err != nil || !nameable(key) {
		return nil, fmt.Errorf("%w: this system does not allow a file of this name", errors.ErrUnsupported)
	}
	return d.open()
}

func (d *dir) failed(op, key string, err error) error {
	if op == "put" && missing(err) {
		if _, isBody := errors.AsType[*bodyError](err); !isBody {
			// One of the store's own files is missing; this must not read as "no such
			// object".
			err = errors.New(err.Error())
		}
	}
	if cannotHold(err) {
		err = fmt.Errorf("%w: the file system cannot hold this name (%v)", errors.ErrUnsupported, err)
	}
	return fmt.Errorf("%s %.100q in the folder %s: %w", op, key, d.path, err)
}

// bodyError is an error of the reader passed to Put.
type bodyError struct{ error }

func (e *bodyError) Error() string { return "copy the body: " + e.error.Error() }
func (e *bodyError) Unwrap() error { return e.error }

func (d *dir) Put(ctx context.Context, key string, body io.Reader, opts PutOptions) (Info, error) {
	info, err := d.put(ctx, key, body, opts)
	if err != nil {
		return Info{}, d.failed("put", key, err)
	}
	return info, nil
}

func (d *dir) put(ctx context.Context, key string, body io.Reader, opts PutOptions) (Info, error) {
	if err := opts.Validate(); err != nil {
		return Info{}, err
	}
	root, err := d.begin(ctx, key)
	if err != nil {
		return Info{}, err
	}
	defer root.Close()
	if err := d.prepare(ctx, root); err != nil {
		return Info{}, err
	}
	temp, info, err := spool(ctx, root, body)
	// After a rename there is nothing to remove. A file that cannot be removed now is
	// swept later.
	defer func() { _ = root.Remove(temp) }()
	if err != nil {
		return Info{}, err
	}
	info.Key = key

	unlock, err := d.lock(ctx, root)
	if err != nil {
		return Info{}, err
	}
	defer unlock()
	if err := d.admit(ctx, root, key, opts); err != nil {
		return Info{}, err
	}
	return info, d.publish(ctx, root, temp, key, opts.IfAbsent)
}

// spool writes body to a temporary file and syncs it.
func spool(ctx context.Context, root *os.Root, body io.Reader) (temp string, info Info, err error) {
	temp = newTempName()
	f, err := root.OpenFile(temp, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return temp, Info{}, err
	}
	hash := newETag()
	info.Size, err = io.Copy(io.MultiWriter(f, hash), withContext(ctx, body))
	if err != nil {
		return temp, Info{}, errors.Join(&bodyError{err}, f.Close())
	}
	fi, err := f.Stat()
	if err := errors.Join(err, f.Sync(), f.Close()); err != nil {
		return temp, Info{}, err
	}
	info.ETag, info.ModTime = hash.String(), fi.ModTime()
	return temp, info, nil
}

// admit checks the condition of a Put under the lock.
func (d *dir) admit(ctx context.Context, root *os.Root, key string, opts PutOptions) error {
	fi, err := root.Lstat(key)
	switch {
	case missing(err):
		if !opts.IfMatch.Holds("") {
			return ErrPrecondition
		}
		return nil
	case err != nil:
		return err
	case fi.IsDir():
		// An empty folder is left over from a crash; it is not a key with a slash.
		if root.Remove(key) != nil {
			return fmt.Errorf("%w: %s is a folder with objects in it; a file system cannot have both", errors.ErrUnsupported, key)
		}
		return d.admit(ctx, root, key, opts)
	case opts.IfAbsent:
		return ErrPrecondition
	case opts.IfMatch == Match{}:
		return nil
	}
	f, err := openAtOnce(root, key)
	if err != nil {
		return err
	}
	defer f.Close()
	if fi, err = f.Stat(); err == nil {
		err = regular(key, fi)
	}
	if err != nil {
		return err
	}
	etag, err := d.etags.of(ctx, key, f)
	if err == nil && !opts.IfMatch.Holds(etag) {
		err = ErrPrecondition
	}
	return err
}

func (d *dir) Get(ctx context.Context, key string, opts GetOptions) (io.ReadCloser, Info, error) {
	body, info, err := d.get(ctx, key, opts)
	if err != nil {
		return nil, Info{}, d.failed("get", key, err)
	}
	return body, info, nil
}

func (d *dir) get(ctx context.Context, key string, opts GetOptions) (io.ReadCloser, Info, error) {
	if err := opts.Validate(); err != nil {
		return nil, Info{}, err
	}
	root, err := d.begin(ctx, key)
	if err != nil {
		return nil, Info{}, err
	}
	defer root.Close()
	f, err := openAtOnce(root, key)
	if missing(err) {
		return nil, Info{}, fs.ErrNotExist
	}
	if err != nil {
		return nil, Info{}, err
	}
	body, info, err := d.section(ctx, key, f, opts)
	if err != nil {
		return nil, Info{}, errors.Join(err, f.Close())
	}
	return body, info, nil
}

// section returns the part of f that opts selects; closing it closes f.
func (d *dir) section(ctx context.Context, key string, f *os.File, opts GetOptions) (io.ReadCloser, Info, error) {
	fi, err := f.Stat()
	if err != nil {
		return nil, Info{}, err
	}
	if fi.IsDir() {
		return nil, Info{}, fs.ErrNotExist
	}
	if err := regular(key, fi); err != nil {
		return nil, Info{}, err
	}
	etag, err := d.etags.of(ctx, key, f)
	if err != nil {
		return nil, Info{}, err
	}
	if opts.IfNoneMatch == etag {
		return nil, Info{}, ErrNotModified
	}
	offset, length := opts.span(fi.Size())
	body := &fileBody{fullReader: fullReader{withContext(ctx, io.NewSectionReader(f, offset, length)), length}, file: f}
	return body, Info{Key: key, Size: fi.Size(), ETag: etag, ModTime: fi.ModTime()}, nil
}

func (d *dir) Delete(ctx context.Context, key string) error {
	if err := d.delete(ctx, key); err != nil {
		return d.failed("delete", key, err)
	}
	return nil
}

func (d *dir) delete(ctx context.Context, key string) error {
	root, err := d.begin(ctx, key)
	if err != nil {
		return err
	}
	defer root.Close()
	if fi, err := root.Lstat(key); missing(err) || err == nil && fi.IsDir() {
		return nil
	}
	if err := d.prepare(ctx, root); err != nil {
		return err
	}
	unlock, err := d.lock(ctx, root)
	if err != nil {
		return err
	}
	defer unlock()
	if err := untilFree(ctx, func() error { return root.Remove(key) }); err != nil && !missing(err) {
		return err
	}
	return syncFolder(root, d.prune(root, path.Dir(key)))
}

// missing reports whether err means that there is no such object: no file has this name,
// or none can, because the "x" in "x/y" is a file.
func missing(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR)
}

// isPrivate reports whether key is in the store's own folder. It ignores case, because the
// file system may.
func isPrivate(key string) bool {
	first, _, _ := strings.Cut(key, "/")
	return strings.EqualFold(first, privateDir)
}
