package remote

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/driftdb/driftdb-go/internal/digest"
	"github.com/driftdb/driftdb-go/internal/seal"
	"github.com/driftdb/driftdb-go/internal/segment"
)

// ManifestVersion is the version of the bucket's format.
const ManifestVersion = 1

var (
	// ErrCorrupt says that the bucket's contents contradict themselves.
	ErrCorrupt = errors.New("the bucket's data is damaged")
	// ErrTooOld says that the bucket does not reach back that far.
	ErrTooOld = errors.New("the backup does not reach back that far")
	// ErrVersion says that a newer program wrote the bucket.
	ErrVersion = errors.New("the bucket was written by a newer version of DriftDB; upgrade the program")
)

// Manifest is the one object that is replaced. It says who writes, up to where
// the bucket's contents are confirmed, and whose objects make up the history.
type Manifest struct {
	FormatVersion int    `json:"formatVersion"`
	Name          string `json:"dbName"`
	DatabaseID    string `json:"databaseId"`
	NodeID        string `json:"nodeId"` // of the writer
	Epoch         int64  `json:"epoch"`  // of the writer's session
	Nonce         string `json:"nonce"`  // no two manifests are alike

	// Branch is the id of the branch whose manifest this is, that of the writer.
	// It is empty in the one manifest that counts.
	Branch string `json:"branch,omitempty"`

	LatestSequence int64         `json:"latestLogSequence"`
	ChainHead      segment.Chain `json:"chainHead"` // after LatestSequence

	// Earliest is the smallest time (Unix ms) among the changes behind the newest
	// snapshot up to LatestSequence; 0: not known, or there are none. It may be
	// too small, never too large.
	Earliest int64 `json:"earliest,omitempty"`

	SnapshotKey      string `json:"latestSnapshotKey,omitempty"`
	SnapshotTime     int64  `json:"latestSnapshotTimestamp,omitempty"`
	SnapshotSequence int64  `json:"latestSnapshotSequence,omitempty"`

	Snapshots []Snapshot `json:"snapshots"`                // oldest first
	Lineage   []Span     `json:"lineage"`                  // oldest first; the last one is the writer's
	Pruned    int64      `json:"prunedSequence,omitempty"` // what only changes up to here need may be gone

	Largest Extent `json:"largest,omitzero"` // what no restore needs more than about

	PrunedAt  int64 `json:"prunedAt,omitempty"` // Unix ms, by the store's clock; when it was last looked what is too old to be kept
	Clock     Clock `json:"clock,omitzero"`     // the store's, as far as it is known
	UpdatedAt int64 `json:"updatedAt"`          // Unix ms, by the writer's clock

	// Over all of the above: with keys, who wrote it; without, that it is whole.
	MAC      string `json:"mac,omitempty"`
	Checksum string `json:"checksum,omitempty"` // SHA-256
}

// Snapshot is a copy of the database as it was after Sequence.
type Snapshot struct {
	Key      string        `json:"key"`
	Sequence int64         `json:"sequence"`
	Time     int64         `json:"timestamp"`           // Unix ms, by the writer's clock
	Size     int64         `json:"size"`                // of the object
	Plain    int64         `json:"plainSize,omitempty"` // of the database file, before it was sealed; 0: not known
	SHA256   string        `json:"sha256"`              // of that file
	Chain    segment.Chain `json:"chain"`               // after Sequence

	// Stored is when it was stored, in Unix ms by the store's clock. Changed is the
	// time of the last transaction in it, Earliest the smallest time among those
	// behind the snapshot before it, both by the clocks of whoever committed them.
	// 0 is not known, or that there are none.
	Stored   int64 `json:"stored,omitempty"`
	Changed  int64 `json:"changed,omitempty"`
	Earliest int64 `json:"earliest,omitempty"`

	// Digests is what the writer knew of the tables after Sequence.
	Digests digest.Set `json:"digests,omitempty"`

	// Faults is what was wrong with tables, as far as the writer has checked: for
	// people. "" stands for the file. CheckedThrough is the last table that it has
	// checked for this snapshot, of a file that is too large to be checked at once.
	Faults         map[string][]string `json:"faults,omitempty"`
	CheckedThrough string              `json:"checkedThrough,omitempty"`
}

// Span is a stretch of the history and the session that wrote it. Objects of
// other sessions, or beyond To, are no part of the history.
type Span struct {
	NodeID string `json:"nodeId"`
	Epoch  int64  `json:"epoch"`
	From   int64  `json:"fromSequence"`
	To     int64  `json:"toSequence,omitempty"` // 0: still open
}

// Clone returns a copy that shares nothing with m.
func (m *Manifest) Clone() *Manifest {
	c := *m
	c.Snapshots, c.Lineage, c.Clock.Said = slices.Clone(m.Snapshots), slices.Clone(m.Lineage), slices.Clone(m.Clock.Said)
	for i := range c.Snapshots {
		c.Snapshots[i].Digests, c.Snapshots[i].Faults = maps.Clone(c.Snapshots[i].Digests), maps.Clone(c.Snapshots[i].Faults)
	}
	return &c
}

// AddSnapshot makes s the newest snapshot. It was stored when m was written last at
// the earliest, whatever the store's clock said.
func (m *Manifest) AddSnapshot(s Snapshot) {
	s.Stored = max(s.Stored, m.Clock.Latest)
	m.Snapshots = append(m.Snapshots, s)
	m.SnapshotKey, m.SnapshotTime, m.SnapshotSequence = s.Key, s.Time, s.Sequence
}

// Takeover opens a new span: from here on, what node writes under epoch counts.
// What the previous writer stored up to at is kept, and nothing later of his.
func (m *Manifest) Takeover(node string, at Position) {
	m.NodeID, m.Epoch = node, m.Epoch+1
	m.LatestSequence, m.ChainHead = at.Sequence, at.Chain
	if n := len(m.Lineage); n > 0 {
		m.Lineage[n-1].To = at.Sequence
		if m.Lineage[n-1].From > at.Sequence {
			m.Lineage = m.Lineage[:n-1] // it wrote nothing
		}
	}
	m.Lineage = append(m.Lineage, Span{NodeID: node, Epoch: m.Epoch, From: at.Sequence + 1})
}

// macContext is what the manifest's MAC says that it is: one of a branch can never be
// passed off as the one that counts, nor the other way round.
func (m *Manifest) macContext() string {
	if m.Branch != "" {
		return "driftdb branch v1"
	}
	return "driftdb manifest v1"
}

// encode gives the manifest's bytes: indented JSON, for people.
func (m *Manifest) encode(ring *seal.Ring) ([]byte, error) {
	c := *m
	c.MAC, c.Checksum = "", ""
	if c.Snapshots == nil {
		c.Snapshots = []Snapshot{}
	}
	plain, err := json.MarshalIndent(&c, "", "  ")
	if err != nil {
		return nil, err
	}
	if c.MAC, err = ring.MAC(c.macContext(), plain); err != nil {
		return nil, err
	}
	if c.MAC == "" {
		c.Checksum = checksum(plain)
	}
	out, err := json.MarshalIndent(&c, "", "  ")
	return append(out, '\n'), err
}

func checksum(plain []byte) string {
	sum := sha256.Sum256(plain)
	return hex.EncodeToString(sum[:])
}

func decodeManifest(name string, b []byte, ring *seal.Ring) (*Manifest, error) {
	corrupt := func(err error) error { return fmt.Errorf("%w: manifest of %s: %w", ErrCorrupt, name, err) }
	var version struct {
		FormatVersion int `json:"formatVersion"`
	}
	if err := json.Unmarshal(b, &version); err != nil {
		return nil, corrupt(err)
	}
	if version.FormatVersion > ManifestVersion {
		return nil, fmt.Errorf("%w (manifest version %d, this program knows %d)", ErrVersion, version.FormatVersion, ManifestVersion)
	}
	m := new(Manifest)
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(m); err != nil {
		return nil, corrupt(err)
	}
	if _, err := d.Token(); err != io.EOF {
		return nil, corrupt(errors.New("there is something behind its end"))
	}
	mac, sum := m.MAC, m.Checksum
	m.MAC, m.Checksum = "", ""
	plain, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return nil, corrupt(err)
	}
	if err := ring.VerifyMAC(m.macContext(), plain, mac); err != nil {
		return nil, fmt.Errorf("manifest of %s: %w", name, err)
	}
	if sum != "" && sum != checksum(plain) { // one that people have edited has none
		return nil, corrupt(errors.New("its checksum is another"))
	}
	if err := m.check(name); err != nil {
		return nil, corrupt(err)
	}
	m.MAC, m.Checksum = mac, sum
	return m, nil
}

// check refuses what no writer of ours would store.
func (m *Manifest) check(name string) error {
	switch {
	case m.FormatVersion != ManifestVersion:
		return fmt.Errorf("version %d", m.FormatVersion)
	case m.Name != name:
		return fmt.Errorf("it is that of database %q", m.Name)
	case m.Pruned < 0 || m.Pruned > 0 && (len(m.Snapshots) == 0 || m.Pruned > m.Snapshots[0].Sequence):
		return errors.New("what it says was pruned is still needed")
	case m.DatabaseID == "" || m.Epoch < 1 || m.LatestSequence < 0 || m.LatestSequence > maxSequence || len(m.Lineage) == 0:
		return errors.New("fields are missing or out of range")
	}
	next := int64(1)
	for i, s := range m.Lineage {
		last := i == len(m.Lineage)-1
		if err := CheckName("node id", s.NodeID); err != nil {
			return err
		}
		if s.Epoch < 1 || s.Epoch > m.Epoch || i > 0 && s.From != next || s.From < 1 || (s.To == 0) != last || !last && s.To < s.From {
			return fmt.Errorf("its lineage has a gap or an overlap at sequence %d", s.From)
		}
		next = s.To + 1
	}
	if own := (Branch{NodeID: m.NodeID, Epoch: m.Epoch}).ID(); m.Branch != "" && m.Branch != own {
		return fmt.Errorf("it is that of branch %q, of which %s is not the writer", m.Branch, own)
	}
	if w := m.Lineage[len(m.Lineage)-1]; w.NodeID != m.NodeID || w.Epoch != m.Epoch || m.LatestSequence < w.From-1 {
		return errors.New("its lineage does not end with its writer")
	}
	if err := m.Largest.check(); err != nil {
		return err
	}
	for i, s := range m.Snapshots {
		if s.Sequence < 0 || s.Sequence > m.LatestSequence || i > 0 && s.Sequence < m.Snapshots[i-1].Sequence {
			return fmt.Errorf("snapshot %s is out of order", s.Key)
		}
	}
	return nil
}
