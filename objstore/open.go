package objstore

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"runtime"
	"slices"
	"strings"
	"sync"
)

var (
	schemesMu sync.RWMutex
	schemes   = map[string]func(ctx context.Context, u *url.URL) (Store, error){"file": openFile}
)

// Register makes [Open] use open for URLs with this scheme. A package calls it from its
// init function. It panics if open is nil or the scheme is already registered.
//
// An open function must refuse query parameters that it does not know.
func Register(scheme string, open func(ctx context.Context, u *url.URL) (Store, error)) {
	schemesMu.Lock()
	defer schemesMu.Unlock()
	if open == nil {
		panic("objstore: Register of a nil function for " + scheme)
	}
	if _, taken := schemes[scheme]; taken {
		panic("objstore: Register called twice for " + scheme)
	}
	schemes[scheme] = open
}

// Open creates the store that a URL names:
//
//	file:///path/to/folder       as by Dir; on Windows file:///C:/path
//	s3://bucket?region=…         if package s3store is imported, which lists the
//	s3://bucket/prefix?region=…  parameters; the default prefix is driftdb
//
// In a path, percent-encode characters that have a meaning in a URL, such as "?", "#" and
// "%". ctx limits only Open itself.
func Open(ctx context.Context, rawURL string) (Store, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		// The error of url.Parse quotes the URL, which may hold a password.
		if parse, ok := errors.AsType[*url.Error](err); ok {
			err = parse.Err
		}
		return nil, fmt.Errorf("objstore: parse the store's URL: %w", err)
	}
	schemesMu.RLock()
	open := schemes[u.Scheme]
	known := strings.Join(slices.Sorted(maps.Keys(schemes)), ", ")
	schemesMu.RUnlock()
	switch {
	case len(u.Scheme) < 2: // none, or the letter of a drive
		return nil, fmt.Errorf("objstore: the store's URL has no scheme (known: %s); a folder is file:///path/to/folder, or file:///C:/path/to/folder on Windows", known)
	case open == nil:
		return nil, fmt.Errorf("objstore: unknown scheme %q in the store's URL (known: %s); import the package that registers it", u.Scheme, known)
	case u.User != nil:
		return nil, fmt.Errorf("objstore: a %s URL must not hold a user name or password", u.Scheme)
	case u.Fragment != "":
		return nil, fmt.Errorf("objstore: a %s URL has no fragment; write # as %%23", u.Scheme)
	}
	return open(ctx, u)
}

func openFile(_ context.Context, u *url.URL) (Store, error) {
	query, err := url.ParseQuery(u.RawQuery)
	if err != nil {
		return nil, fmt.Errorf("objstore: parse the URL's parameters: %w; write ? in a path as %%3F", err)
	}
	for name := range query {
		return nil, fmt.Errorf("objstore: unknown parameter %q: a file URL takes none; write ? in a path as %%3F", name)
	}
	path, err := filePath(u, runtime.GOOS)
	if err != nil {
		return nil, err
	}
	return Dir(path)
}

// filePath returns the path that a file URL names on the operating system goos.
func filePath(u *url.URL, goos string) (string, error) {
	if u.Opaque != "" || !strings.HasPrefix(u.Path, "/") {
		return "", errors.New("objstore: a file URL needs an absolute path with three slashes: file:///path/to/folder")
	}
	remote := u.Host != "" && u.Host != "localhost"
	if goos != "windows" {
		if remote {
			return "", fmt.Errorf("objstore: a file URL has no host, but this one names %q; write file:///path with three slashes", u.Host)
		}
		return u.Path, nil
	}
	if remote {
		return `\\` + u.Host + strings.ReplaceAll(u.Path, "/", `\`), nil
	}
	path := strings.TrimPrefix(u.Path, "/")
	if len(path) < 3 || path[1] != ':' || path[2] != '/' {
		return "", errors.New("objstore: a file URL needs a drive on Windows: file:///C:/path/to/folder")
	}
	return strings.ReplaceAll(path, "/", `\`), nil
}
