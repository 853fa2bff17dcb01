package remote

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"

	"github.com/driftdb/driftdb-go/objstore"
)

var (
	// ErrDeleted means that a backup was deleted. It comes with ErrNoBackup or ErrLost.
	ErrDeleted = errors.New("it was deleted")
	// ErrNameTaken means that a name without a backup cannot be used for a new one yet.
	ErrNameTaken = errors.New("the name is taken")
)

// vacancy stands in a manifest's place while there is no backup: a fork is being created
// under the name, or the backup was deleted. It is text even if there are keys.
//
// A manifest's key is never deleted, and everything under it is replaced only if it is
// still what was read. So a writer of a deleted backup cannot mistake it for one that was
// lost, and a fork that was given up cannot appear later.
type vacancy struct {
	Name       string   `json:"dbName"`
	Reserved   bool     `json:"reserved,omitempty"` // for a fork; else deleted
	DatabaseID string   `json:"databaseId"`         // of the fork to be, or of what was deleted
	Epoch      int64    `json:"epoch,omitempty"`    // the last one under this name; objects may have ahead more
	Origins    []string `json:"origins,omitempty"`  // the databases whose pins name it
	Nonce      string   `json:"nonce"`

	etag   string
	raw    []byte
	stored time.Time
}

// vacant begins a vacancy. No manifest begins like this.
const vacant = "driftdb vacant 1\n"

// Error says why there is no backup.
func (v *vacancy) Error() string {
	if v.Reserved {
		return fmt.Sprintf("%v for database %q: %v by a fork that is being created; if it never is, driftdb delete frees the name", ErrNoBackup, v.Name, ErrNameTaken)
	}
	return fmt.Sprintf("%v for database %q: %v", ErrNoBackup, v.Name, ErrDeleted)
}

// Is makes a vacancy an ErrNoBackup and, if the backup was deleted, an ErrDeleted, else an
// ErrNameTaken.
func (v *vacancy) Is(target error) bool {
	return target == ErrNoBackup || target == ErrDeleted && !v.Reserved || target == ErrNameTaken && v.Reserved
}

// ahead is how far beyond its manifest's epoch a session may draw one.
const ahead = 1 << 20

// next is an epoch that no object stored before v has. With it, a new backup never uses
// the name of an object that a deletion of the old one may still delete.
func (v *vacancy) next(epoch int64) int64 {
	if v.Epoch == 0 {
		return epoch
	}
	return max(epoch, v.Epoch+ahead+1)
}

// deleted returns the vacancy in err, if the backup was deleted.
func deleted(err error) (*vacancy, bool) {
	var v *vacancy
	return v, errors.As(err, &v) && !v.Reserved
}

// encode returns the object for v, which gets a new nonce.
func (v *vacancy) encode() ([]byte, error) {
	v.Nonce = rand.Text()
	body, err := json.Marshal(v)
	return append([]byte(vacant), append(body, '\n')...), err
}

// parseVacancy returns the vacancy that object holds, or nil if it is none.
func (b *Bucket) parseVacancy(object *bufio.Reader, info objstore.Info) (*vacancy, error) {
	if start, _ := object.Peek(len(vacant)); string(start) != vacant {
		return nil, nil
	}
	raw, err := io.ReadAll(io.LimitReader(object, maxVacancy))
	if err != nil {
		return nil, err
	}
	v := &vacancy{etag: info.ETag, raw: raw, stored: info.ModTime}
	if err := json.Unmarshal(raw[len(vacant):], v); err != nil || v.Name != b.name {
		return nil, fmt.Errorf("%w: what stands for the manifest of %s cannot be read (%v)", ErrCorrupt, b.name, err)
	}
	return v, nil
}

// maxVacancy bounds the size of a vacancy.
const maxVacancy = 1 << 20

// occupy replaces what is in the manifest's place with v: it creates it if prev is empty,
// and otherwise replaces only the object with that ETag. ErrLost means that something else
// is there.
func (b *Bucket) occupy(ctx context.Context, prev string, v vacancy) (*vacancy, error) {
	v.Name = b.name
	raw, err := v.encode()
	if err != nil {
		return nil, err
	}
	opts := objstore.PutOptions{IfAbsent: true}
	if prev != "" {
		opts = objstore.PutOptions{IfMatch: objstore.Matching(prev)}
	}
	info, err := b.store.Put(ctx, manifestKey(b.name), bytes.NewReader(raw), opts)
	if err == nil {
		v.etag, v.raw, v.stored = info.ETag, raw, info.ModTime
		return &v, nil
	}
	var there *vacancy
	switch _, rerr := b.Manifest(ctx); {
	case errors.As(rerr, &there) && bytes.Equal(there.raw, raw): // the answer was lost
		return there, nil
	case errors.Is(err, objstore.ErrPrecondition), prev != "" && errors.Is(err, fs.ErrNotExist):
		return nil, fmt.Errorf("%w: %s is not what it was", ErrLost, manifestKey(b.name))
	}
	return nil, err
}

// vacatedFolder holds, for each name that is or was vacant, a hint for Databases to look at
// what is in its manifest's place.
const vacatedFolder = "vacated/"

// vacate puts a vacancy of a deleted backup in the manifest's place.
func (b *Bucket) vacate(ctx context.Context, prev string, v vacancy) (*vacancy, error) {
	hint := bytes.NewReader([]byte("The database of this name may have been deleted: see its manifest.\n"))
	if _, err := b.store.Put(ctx, vacatedFolder+b.name, hint, objstore.PutOptions{}); err != nil {
		return nil, err
	}
	v.Reserved = false
	return b.occupy(ctx, prev, v)
}
