package main

import (
	"cmp"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/objstore/s3store"
)

// verified records the last time this machine verified a backup, and the last point
// that the backup had confirmed by then. Each backup has its own file, outside the
// bucket: verifying only reads. A missing or broken file means that nothing is known;
// it is no error.
type verified struct {
	Store      string    `json:"store"`
	Database   string    `json:"database"`
	DatabaseID string    `json:"databaseId"`
	Sequence   int64     `json:"sequence"`
	VerifiedAt time.Time `json:"verifiedAt,omitzero"` // zero: found damaged since

	Seen   driftdb.Confirmation `json:"seen"`
	SeenAt time.Time            `json:"seenAt,omitzero"`
}

// verifiedOf identifies the backup; nothing is known about it yet.
func verifiedOf(storeURL string, b driftdb.BackupInfo) verified {
	return verified{Store: storePlace(storeURL), Database: b.Name, DatabaseID: b.DatabaseID}
}

// storePlace returns the part of a store's URL that says where the store is, without how
// to reach it. So it holds no credentials, even if the URL does.
func storePlace(storeURL string) string {
	u, err := url.Parse(storeURL)
	if err != nil {
		return "" // such a URL opens no store
	}
	place := url.URL{Scheme: u.Scheme, Host: u.Host, Path: path.Clean("/" + cmp.Or(strings.Trim(u.Path, "/"), prefixOf(u)))}
	if endpoint, err := url.Parse(u.Query().Get("endpoint")); err == nil && endpoint.Host != "" {
		endpoint = &url.URL{Scheme: endpoint.Scheme, Host: endpoint.Host, Path: endpoint.Path}
		place.RawQuery = url.Values{"endpoint": {endpoint.String()}}.Encode()
	}
	return place.String()
}

// prefixOf returns the prefix of an s3 URL without a path.
func prefixOf(u *url.URL) string {
	if u.Scheme != "s3" {
		return ""
	}
	return cmp.Or(u.Query().Get("prefix"), s3store.DefaultPrefix)
}

// file is the path where v is kept; its name identifies the backup.
func (v verified) file() (string, error) {
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%q %q %q", v.Store, v.Database, v.DatabaseID))
	return filepath.Join(dir, "driftdb", fmt.Sprintf("verified-%x.json", sum[:16])), nil
}

// recall fills in when the backup was last verified, if that is known.
func (v *verified) recall() {
	file, err := v.file()
	if err != nil {
		return
	}
	content, err := os.ReadFile(file)
	if err != nil {
		return
	}
	var known verified
	if json.Unmarshal(content, &known) == nil && known.Sequence >= 0 &&
		known.Store == v.Store && known.Database == v.Database && known.DatabaseID == v.DatabaseID {
		*v = known
	}
}

// remember stores v. The file is replaced atomically.
func (v verified) remember() error {
	file, err := v.file()
	if err != nil {
		return err
	}
	content, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return err
	}
	temp, err := os.CreateTemp(filepath.Dir(file), "verified-*.tmp")
	if err != nil {
		return err
	}
	_, err = temp.Write(append(content, '\n'))
	if err = errors.Join(err, temp.Close()); err == nil {
		err = os.Rename(temp.Name(), file)
	}
	if err != nil {
		return errors.Join(err, os.Remove(temp.Name()))
	}
	return nil
}

// damaged forgets that the backup was verified, once it turns out to be damaged. The
// last confirmed point stays known.
func (v verified) damaged() error {
	v.Sequence, v.VerifiedAt = 0, time.Time{}
	if v.Seen != (driftdb.Confirmation{}) {
		return v.remember()
	}
	file, err := v.file()
	if err != nil {
		return nil // it was never stored
	}
	if err := os.Remove(file); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// rolledBack adds to err when this machine saw the point that the backup has since lost.
func (v verified) rolledBack(err error) error {
	file, ferr := v.file()
	if ferr != nil {
		return err
	}
	return hinted{
		fmt.Errorf("%w (verified here at %s)", err, v.SeenAt.UTC().Format(time.RFC3339)),
		"an older state of the bucket was put back, or objects were lost: the database itself, older versions in the store, and copies may have the rest. If this was intended, delete " + file,
	}
}
