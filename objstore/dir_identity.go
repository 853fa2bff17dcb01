package objstore

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"sync"
)

const (
	// markFile holds the folder's mark, a random id.
	markFile = privateDir + "/id"
	// markMax bounds how much of a mark is read; DriftDB's have 26 bytes.
	markMax = 128
)

// identity is how a store recognizes its folder: by its mark, or by device and inode as
// long as there is no mark. The path alone is not enough: after a disk is unmounted, it
// leads to another, empty folder. Device and inode do not replace the mark, because they
// may change when the disk is mounted again.
type identity struct {
	mu     sync.Mutex
	mark   string      // empty until the folder is known to have one
	folder os.FileInfo // nil until the first check
}

// check returns an error unless root is the same folder as at the first check. It also
// learns a mark that another process has made since.
func (id *identity) check(root *os.Root) error {
	known := id.known() // before readMark: a mark made in between is not a different one
	mark, err := readMark(root)
	if known != "" {
		return compare(root, known, mark, err)
	}
	if err != nil && !errors.Is(err, fs.ErrPermission) { // of users who may only read the objects
		return err
	}
	folder, err := root.Stat(".")
	if err != nil {
		return err
	}
	if !id.isFolder(folder) {
		return &replacedError{root.Name(), "it has another device or inode"}
	}
	if mark != "" {
		id.learn(mark)
	}
	return nil
}

// isFolder reports whether folder is the one of the first check. The first call is that
// check.
func (id *identity) isFolder(folder os.FileInfo) bool {
	id.mu.Lock()
	defer id.mu.Unlock()
	if id.folder == nil {
		id.folder = folder
	}
	// On Windows the first comparison looks up the file's ID, so the first check must
	// compare, too.
	return os.SameFile(id.folder, folder)
}

func (id *identity) known() (mark string) {
	id.mu.Lock()
	defer id.mu.Unlock()
	return id.mark
}

func (id *identity) learn(mark string) {
	id.mu.Lock()
	defer id.mu.Unlock()
	id.mark = mark
}

// compare compares root's mark, or the error of reading it, with the known mark.
func compare(root *os.Root, known, mark string, err error) error {
	switch {
	case err != nil:
		return err
	case mark == "":
		return &replacedError{root.Name(), "its mark " + markFile + " is missing"}
	case mark != known:
		return &replacedError{root.Name(), "it has another mark in " + markFile}
	}
	return nil
}

// replacedError means that the folder is a different one, and tells how that was seen.
type replacedError struct{ folder, how string }

func (e *replacedError) Error() string {
	return fmt.Sprintf("%v: the folder %s is not the one that it was (%s): is its disk mounted?", ErrNoBucket, e.folder, e.how)
}

func (e *replacedError) Unwrap() error { return ErrFolderReplaced }

// readMark returns the mark of a folder, or "" if there is none.
func readMark(root *os.Root) (string, error) {
	f, err := openOwn(root, markFile, os.O_RDONLY)
	if missing(err) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("read the folder's marker: %w", err)
	}
	text, err := io.ReadAll(io.LimitReader(f, markMax))
	if err := errors.Join(err, f.Close()); err != nil {
		return "", fmt.Errorf("read the folder's marker: %w", err)
	}
	return strings.TrimSpace(string(text)), nil
}

// sign marks the folder if it has no mark. From then on the store identifies it by the
// mark.
func (d *dir) sign(ctx context.Context, root *os.Root) error {
	if d.identity.known() != "" {
		return nil
	}
	// Two processes may get here. The lock lets one of them make the mark; where locks do
	// not work, the hard link does.
	unlock, err := d.lock(ctx, root)
	if err != nil {
		return err
	}
	defer unlock()
	mark, err := readMark(root)
	if err == nil && mark == "" {
		if err = makeMark(ctx, root); err == nil {
			mark, err = readMark(root)
		}
	}
	if err != nil {
		return err
	}
	if mark == "" {
		return fmt.Errorf("the folder's marker %s is empty; delete it, and the next write creates a new one", markFile)
	}
	d.identity.learn(mark)
	return nil
}

// makeMark writes a mark durably, unless there is one.
func makeMark(ctx context.Context, root *os.Root) error {
	temp, _, err := spool(ctx, root, strings.NewReader(rand.Text()+"\n"))
	defer func() { _ = root.Remove(temp) }()
	if err == nil {
		err = move(ctx, root, temp, markFile, true)
	}
	if err != nil && !errors.Is(err, ErrPrecondition) {
		return fmt.Errorf("mark the folder: %w", err)
	}
	return errors.Join(syncFolder(root, privateDir), syncFolder(root, "."))
}
