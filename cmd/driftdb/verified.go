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

// verified is what this machine remembers of the last time that it proved a
// backup, and of the furthest point that the backup has confirmed then. It is kept in a file for each backup, outside the bucket: proving is
// reading. A file that is missing or broken is no knowledge, and no error.
type verified struct {
	Store      string    `json:"store"`
	Database   string    `json:"database"`
	DatabaseID string    `json:"databaseId"`
	Sequence   int64     `json:"sequence"`
	VerifiedAt time.Time `json:"verifiedAt,omitzero"` // zero: it was damaged since

	Seen   driftdb.Confirmation `json:"seen"`
	SeenAt time.Time            `json:"seenAt,omitzero"`
}

// verifiedOf names the backup, about which nothing is known yet.
func verifiedOf(storeURL string, b driftdb.BackupInfo) verified {
	return verified{Store: storePlace(storeURL), Database: b.Name, DatabaseID: b.DatabaseID}
}

// storePlace is the part of a store's URL that says where it is, not how to get
// there. So it holds no credentials, whatever the URL does.
func storePlace(storeURL string) string {
	u, err := url.Parse(storeURL)
	if err != nil {
		return "" // no store was ever opened by this one
	}
	place := url.URL{Scheme: u.Scheme, Host: u.Host, Path: path.Clean("/" + cmp.Or(strings.Trim(u.Path, "/"), prefixOf(u)))}
	if endpoint, err := url.Parse(u.Query().Get("endpoint")); err == nil && endpoint.Host != "" {
		endpoint = &url.URL{Scheme: endpoint.Scheme, Host: endpoint.Host, Path: endpoint.Path}
		place.RawQuery = url.Values{"endpoint": {endpoint.String()}}.Encode()
	}
	return place.String()
}

// prefixOf is what an s3 URL without a path has as its prefix.
func prefixOf(u *url.URL) string {
	if u.Scheme != "s3" {
		return ""
	}
	return cmp.Or(u.Query().Get("prefix"), s3store.DefaultPrefix)
}

// file is where v is kept: its name says which backup v is about.
func (v verified) file() (string, error) {
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%q %q %q", v.Store, v.Database, v.DatabaseID))
	return filepath.Join(dir, "driftdb", fmt.Sprintf("verified-%x.json", sum[:16])), nil
}

// recall fills in when the backup was proven, if that is known.
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

// remember keeps v. Whoever reads the file meanwhile finds all of it.
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

// damaged takes the proof back, for a backup that has turned out to be damaged. What the
// backup has confirmed before stays known.
func (v verified) damaged() error {
	v.Sequence, v.VerifiedAt = 0, time.Time{}
	if v.Seen != (driftdb.Confirmation{}) {
		return v.remember()
	}
	file, err := v.file()
	if err != nil {
		return nil // it was never remembered
	}
	if err := os.Remove(file); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// rolledBack adds to err, for a backup that does not have the point any more that it had,
// when that was.
func (v verified) rolledBack(err error) error {
	file, ferr := v.file()
	if ferr != nil {
		return err
	}
	return hinted{
		fmt.Errorf("%w (proven here at %s)", err, v.SeenAt.UTC().Format(time.RFC3339)),
		"somebody has put an older state of the bucket back, or it was lost: the database itself, older versions in the store, and copies may have the rest. If it was on purpose, delete " + file,
	}
}
