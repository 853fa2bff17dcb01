package dbfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// maxLinks is how many links in a row are followed: as many as Linux does.
const maxLinks = 40

// Resolve returns the absolute path, without symbolic links, of the file that path means,
// whether the file exists or not. One file has one resolved path, whichever of its links is
// used, so it has one lock.
//
// Missing folders on the way are left to be created, unless a link leads into them: then most
// likely a disk is not mounted, and a database must not start over in its mount point.
func Resolve(path string) (string, error) {
	link := ""
	for range maxLinks {
		folder, name, err := split(path)
		if err != nil {
			return "", err
		}
		real, err := resolveFolder(folder)
		if errors.Is(err, fs.ErrNotExist) && link != "" {
			return "", fmt.Errorf("%s is a link to %s, whose folder does not exist; is its disk mounted?", link, path)
		}
		if err != nil {
			return "", fmt.Errorf("open %s: %w", filepath.Join(folder, name), err)
		}
		if link != "" {
			if _, err := os.Stat(real); err != nil {
				return "", fmt.Errorf("%s is a link to %s, whose folder cannot be used (is its disk mounted?): %w", link, path, err)
			}
		}
		file := filepath.Join(real, name)
		info, err := os.Lstat(file)
		if err != nil || info.Mode()&fs.ModeSymlink == 0 {
			return file, nil
		}
		target, err := os.Readlink(file)
		if err != nil {
			return "", err
		}
		if !filepath.IsAbs(target) {
			// Not Join: it would simplify "x/..", and x may be a link.
			target = real + string(filepath.Separator) + target
		}
		link, path = file, target
	}
	return "", fmt.Errorf("%s: more than %d symbolic links in a row", path, maxLinks)
}

// split splits an absolute form of path into its folder and its last name.
func split(path string) (folder, name string, err error) {
	if !filepath.IsAbs(path) {
		if path, err = filepath.Abs(path); err != nil {
			return "", "", err
		}
	}
	path = strings.TrimRight(path, string(filepath.Separator))
	folder, name = filepath.Split(path)
	if name == "" || name == "." || name == ".." {
		return "", "", fmt.Errorf("%s names a folder, not a file", path)
	}
	return folder, name, nil
}

// resolveFolder follows the links of a folder. The part of it that does not exist yet stays as
// it is.
func resolveFolder(folder string) (string, error) {
	real, err := filepath.EvalSymlinks(folder)
	if !errors.Is(err, fs.ErrNotExist) {
		return real, err
	}
	folder = filepath.Clean(folder)
	if _, err := os.Lstat(folder); err == nil {
		return "", fmt.Errorf("%s is a broken link; is its disk mounted?", folder)
	}
	parent := filepath.Dir(folder)
	if parent == folder {
		return "", err
	}
	if real, err = resolveFolder(parent); err != nil {
		return "", err
	}
	return filepath.Join(real, filepath.Base(folder)), nil
}
