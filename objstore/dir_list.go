package objstore

import (
	"context"
	"errors"
	"io/fs"
	"iter"
	"os"
	"slices"
	"strings"
)

func (d *dir) List(ctx context.Context, prefix string, opts ListOptions) iter.Seq2[Info, error] {
	return func(yield func(Info, error) bool) {
		root, err := d.open()
		if err != nil {
			yield(Info{}, d.failed("list", prefix, err))
			return
		}
		defer root.Close()
		// Only the folder that the prefix names needs reading.
		base := prefix[:strings.LastIndexByte(prefix, '/')+1]
		if base != "" && (ValidKey(strings.TrimSuffix(base, "/")) != nil || isPrivate(base)) {
			return
		}
		w := walk{ctx: ctx, root: root, prefix: prefix, opts: opts, yield: yield}
		if err := w.folder(base); err != nil && !errors.Is(err, errStop) {
			yield(Info{}, d.failed("list", prefix, err))
		}
	}
}

// errStop ends a walk when the consumer wants no more.
var errStop = errors.New("stop")

// walk lists the files below a folder in the byte order of their keys.
type walk struct {
	ctx    context.Context
	root   *os.Root
	prefix string
	opts   ListOptions
	yield  func(Info, error) bool
}

// entry is a file or folder in the walk. key is the file's key, or the prefix that the
// keys in the folder share, which ends with a slash.
type entry struct {
	key string
	fs.DirEntry
}

// folder lists base, which is empty or ends with a slash.
func (w *walk) folder(base string) error {
	entries, err := w.read(base)
	if err != nil {
		return err
	}
	for _, e := range entries {
		switch {
		case !e.IsDir():
			err = w.file(e)
		case w.opts.Folders:
			err = w.fold(e.key)
		default:
			err = w.folder(e.key)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// read returns the wanted entries of a folder in the order of their keys: "a-b" comes
// before "a/b", although the folder "a" comes before the file "a-b".
func (w *walk) read(base string) ([]entry, error) {
	if err := w.ctx.Err(); err != nil {
		return nil, err
	}
	name := strings.TrimSuffix(base, "/")
	if name == "" {
		name = "."
	}
	all, err := readDir(w.root, name)
	if missing(err) {
		return nil, nil // deleted during the walk, or never there
	}
	if err != nil {
		return nil, err
	}
	var wanted []entry
	for _, e := range all {
		key := base + e.Name()
		if isPrivate(key) || ValidKey(key) != nil || !e.IsDir() && !e.Type().IsRegular() {
			continue
		}
		if e.IsDir() {
			key += "/"
		}
		if strings.HasPrefix(key, w.prefix) && !w.skipped(key, e.IsDir()) {
			wanted = append(wanted, entry{key, e})
		}
	}
	slices.SortFunc(wanted, func(a, b entry) int { return strings.Compare(a.key, b.key) })
	return wanted, nil
}

// skipped reports whether StartAfter excludes key, with everything in it.
func (w *walk) skipped(key string, isDir bool) bool {
	if isDir && !w.opts.Folders && strings.HasPrefix(w.opts.StartAfter, key) {
		return false // StartAfter is in this folder
	}
	return key <= w.opts.StartAfter
}

func (w *walk) file(e entry) error {
	if err := w.ctx.Err(); err != nil {
		return err
	}
	fi, err := e.Info()
	if errors.Is(err, fs.ErrNotExist) {
		return nil // deleted during the walk
	}
	if err != nil {
		return err
	}
	if !w.yield(Info{Key: e.key, Size: fi.Size(), ModTime: fi.ModTime()}, nil) {
		return errStop
	}
	return nil
}

// fold yields a folder as one Info if there is an object in it.
func (w *walk) fold(key string) error {
	occupied := false
	inside := walk{ctx: w.ctx, root: w.root, prefix: key, yield: func(Info, error) bool {
		occupied = true
		return false
	}}
	if err := inside.folder(key); err != nil && !errors.Is(err, errStop) {
		return err
	}
	if occupied && !w.yield(Info{Key: key}, nil) {
		return errStop
	}
	return nil
}
