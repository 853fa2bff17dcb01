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
	// markMax bounds what is read of a mark; ours have 26 bytes.
	markMax = 128
)

// identity is how a store knows its folder again: by its mark, and by device
// and inode as long as it has none. The path does not tell: where a disk was
// unmounted, it leads to another folder, which is empty. Device and inode tell
// no more than that, for they may change when the disk is mounted again.
type identity struct {
	mu     sync.Mutex
	mark   string      // empty until the folder is known to have one
	folder os.FileInfo // nil until the first check
}

// check reports whether root is the folder that it was at the first check, and
// learns the mark that others have made in it since.
func (id *identity) check(root *os.Root) error {
	known := id.known() // before reading: a mark made in between is no other one
	mark, err := readMark(root)
	if known != "" {
		return compare(root, known, mark, err)
	}
	if err != nil && !errors.Is(err, fs.ErrPermission) { // of those who may only read the objects
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

// isFolder reports whether folder is the one of the first check, or this is it.
func (id *identity) isFolder(folder os.FileInfo) bool {
	id.mu.Lock()
	defer id.mu.Unlock()
	if id.folder == nil {
		id.folder = folder
	}
	// On Windows the first comparison looks up the id of the file, so the first
	// check has to make one.
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

// compare compares the mark that root has, or the error of reading it, with
// the one that is known.
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

// replacedError says that a folder is another one, and how that shows.
type replacedError struct{ folder, how string }

func (e *replacedError) Error() string {
	return fmt.Sprintf("%v: the folder %s is not the one that it was (%s): is its disk mounted?", ErrNoBucket, e.folder, e.how)
}

func (e *replacedError) Unwrap() error { return ErrFolderReplaced }

// readMark returns the mark of a folder, which is empty if there is none.
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

// sign makes the folder's mark if it has none. From then on that is what the
// store knows it by.
func (d *dir) sign(ctx context.Context, root *os.Root) error {
	if d.identity.known() != "" {
		return nil
	}
	// Two processes may be here: the lock lets one of them make the mark, and
	// where locks do not work, the hard link does.
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

// makeMark writes a mark, on disk when it returns, unless there is one.
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
