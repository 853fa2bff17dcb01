package remote

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/driftdb/driftdb-go/objstore"
)

// Lost is what is in a manifest's place that cannot be used.
type Lost struct {
	Stored        // to be replaced by Swap; the zero value: nothing is there
	Why    error  // nil: nothing is there
	Told   string // what it said, as far as anybody can read that
	ID     string // of the database, as it said
	Last   int64  // its epoch
}

// ErrWhole says that the manifest is there, and needs no repair.
var ErrWhole = errors.New("the manifest is intact: there is nothing to repair")

// Lost looks at what is in the manifest's place. ErrWhole means that it is a manifest.
func (b *Bucket) Lost(ctx context.Context) (Lost, error) {
	_, err := b.Manifest(ctx)
	for tries := 2; tries > 0 && IsDamage(err); tries-- {
		_, err = b.Manifest(ctx) // it may have been altered on its way here
	}
	switch {
	case err == nil:
		return Lost{}, ErrWhole
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
