package remote

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/driftdb/driftdb-go/objstore"
)

// Lost is an unusable object in the manifest's place.
type Lost struct {
	Stored        // for Swap to replace; zero if nothing is there
	Why    error  // nil: nothing is there
	Told   string // what it said, as far as it is readable
	ID     string // the database id that it gave
	Last   int64  // the epoch that it gave
}

// ErrWhole means that the manifest is intact and needs no repair.
var ErrWhole = errors.New("the manifest is intact: there is nothing to repair")

// Lost examines what is in the manifest's place. ErrWhole means that it is a manifest.
func (b *Bucket) Lost(ctx context.Context) (Lost, error) {
	_, err := b.Manifest(ctx)
	for tries := 2; tries > 0 && IsDamage(err); tries-- {
		_, err = b.Manifest(ctx) // it may have been corrupted in transit
	}
	switch {
	case err == nil:
		return Lost{}, ErrWhole
	case errors.As(err, new(*vacancy)):
		return Lost{}, err
	case errors.Is(err, ErrNoBackup):
		return Lost{}, nil
	case !IsDamage(err):
		return Lost{}, err
	}
	l := Lost{Why: err}
	body, info, err := b.store.Get(ctx, manifestKey(b.name), objstore.GetOptions{})
	if err != nil {
		return l, err
	}
	defer body.Close()
	raw, err := io.ReadAll(io.LimitReader(body, maxManifest))
	if err != nil {
		return l, err
	}
	l.Stored = Stored{Manifest: new(Manifest), etag: info.ETag, raw: raw}
	var m struct {
		DatabaseID string `json:"databaseId"`
		NodeID     string `json:"nodeId"`
		Epoch      int64  `json:"epoch"`
		Latest     int64  `json:"latestLogSequence"`
	}
	l.Told = fmt.Sprintf("%d bytes", len(raw))
	if json.Unmarshal(raw, &m) == nil && m.DatabaseID != "" {
		l.Told += fmt.Sprintf(": database %s, node %s, epoch %d, changes up to %d", m.DatabaseID, m.NodeID, m.Epoch, m.Latest)
		if l.ID = m.DatabaseID; m.Epoch < maxEpoch/2 {
			l.Last = m.Epoch
		}
	}
	return l, nil
}
