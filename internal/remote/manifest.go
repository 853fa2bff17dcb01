package remote

import (
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/driftdb/driftdb-go/internal/batch"
	"github.com/driftdb/driftdb-go/internal/digest"
)

// The manifest's format versions: text, which people can read, and, with keys, sealed as
// a whole.
const textVersion, sealedVersion = 1, 2

var (
	// ErrCorrupt means that the bucket's contents contradict themselves.
	ErrCorrupt = errors.New("the bucket's data is damaged")
	// ErrTooOld means that the bucket does not reach back that far.
	ErrTooOld = errors.New("the backup does not reach back that far")
	// ErrVersion means that a newer program wrote the bucket.
	ErrVersion = errors.New("the bucket was written by a newer version of DriftDB; upgrade the program")
)

// Manifest is the one object that writers replace. It names the writer, how far the
// bucket's contents are confirmed, and whose objects make up the history.
type Manifest struct {
	FormatVersion int    `json:"formatVersion"` // of the object it is read from or written to
	Name          string `json:"dbName"`
	DatabaseID    string `json:"databaseId"`
	NodeID        string `json:"nodeId"` // of the writer
	Epoch         int64  `json:"epoch"`  // of the writer's session
	Nonce         string `json:"nonce"`  // makes every manifest unique

	// Branch is the id of the branch, if this is a branch's manifest. It is empty in the
	// main manifest.
	Branch string `json:"branch,omitempty"`

	LatestSequence int64       `json:"latestLogSequence"`
	ChainHead      batch.Chain `json:"chainHead"` // after LatestSequence

	// Earliest is the smallest time (Unix ms) among the changes between the newest
	// snapshot and LatestSequence; 0 if unknown or if there are none. It may be too
	// small, never too large.
	Earliest int64 `json:"earliest,omitempty"`

	SnapshotKey      string `json:"latestSnapshotKey,omitempty"`
	SnapshotTime     int64  `json:"latestSnapshotTimestamp,omitempty"`
	SnapshotSequence int64  `json:"latestSnapshotSequence,omitempty"`

	// Released means that the writer has ended and stores nothing more under its epoch.
	Released bool `json:"released,omitempty"`

	// Fenced means that the writer's session is over, because another one is about to
	// take the database over. The span stays open until that one has found everything
	// that the writer stored before.
	Fenced bool `json:"fenced,omitempty"`

	Snapshots []Snapshot `json:"snapshots"`                // oldest first
	Lineage   []Span     `json:"lineage"`                  // oldest first; the last one is the writer's
	Pruned    int64      `json:"prunedSequence,omitempty"` // objects needed only for changes up to here may be gone

	Largest Extent `json:"largest,omitzero"` // bounds the size of a restore

	Parent  *Parent  `json:"fork,omitempty"`    // where this database began, if it is a fork
	Origins []Origin `json:"origins,omitempty"` // whose objects a fork still uses, oldest first

	PrunedAt  int64 `json:"prunedAt,omitempty"` // Unix ms, by the store's clock; time of the last retention check
	Clock     Clock `json:"clock,omitzero"`     // what is known of the store's clock
	UpdatedAt int64 `json:"updatedAt"`          // Unix ms, by the writer's clock

	// Version 1 only, computed over all of the above: a checksum for integrity, or the
	// MAC that an older program with keys has written.
	MAC      string `json:"mac,omitempty"`
	Checksum string `json:"checksum,omitempty"` // SHA-256
}

// Snapshot is a copy of the database after Sequence.
type Snapshot struct {
	Key      string      `json:"key"`
	Sequence int64       `json:"sequence"`
	Time     int64       `json:"timestamp"`           // Unix ms, by the writer's clock
	Size     int64       `json:"size"`                // of the object
	Plain    int64       `json:"plainSize,omitempty"` // of the database file before sealing; 0: unknown
	SHA256   string      `json:"sha256"`              // of the database file
	Chain    batch.Chain `json:"chain"`               // after Sequence

	// Stored is when the snapshot was stored, in Unix ms by the store's clock. Changed
	// is the time of the last transaction in it. Earliest is the smallest time among the
	// transactions since the snapshot before it. Changed and Earliest are by the clocks
	// of the writers that committed them. 0 means unknown, or that there are none.
	Stored   int64 `json:"stored,omitempty"`
	Changed  int64 `json:"changed,omitempty"`
	Earliest int64 `json:"earliest,omitempty"`

	// Digests holds the table digests that the writer knew after Sequence.
	Digests digest.Set `json:"digests,omitempty"`

	// Faults lists, for people, the faults of each table that the writer has found; ""
	// stands for the file. A file too large to be checked at once is checked in parts:
	// CheckedThrough is the last table checked for this snapshot.
	Faults         map[string][]string `json:"faults,omitempty"`
	CheckedThrough string              `json:"checkedThrough,omitempty"`
}

// Span is a stretch of the history and the session that wrote it. Objects of other
// sessions, or beyond To, are not part of the history.
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
	c.Origins = slices.Clone(m.Origins)
	for i := range c.Snapshots {
		c.Snapshots[i].Digests, c.Snapshots[i].Faults = maps.Clone(c.Snapshots[i].Digests), maps.Clone(c.Snapshots[i].Faults)
	}
	return &c
}

// AddSnapshot makes s the newest snapshot. Its storage time is set no earlier than the
// latest known time of the store's clock.
func (m *Manifest) AddSnapshot(s Snapshot) {
	s.Stored = max(s.Stored, m.Clock.Latest)
	m.Snapshots = append(m.Snapshots, s)
	m.SnapshotKey, m.SnapshotTime, m.SnapshotSequence = s.Key, s.Time, s.Sequence
}

// Takeover opens a new span: from here on, what node writes under the new epoch counts.
// What the previous writer stored up to at stays part of the history; anything later does
// not.
func (m *Manifest) Takeover(node string, at Position) {
	m.LatestSequence, m.ChainHead = at.Sequence, at.Chain
	m.open(node, m.Epoch+1, at.Sequence)
}

// Enter opens a span for a batch that node stored under epoch before the manifest names
// that session. The span begins after the change after. The batch may replace everything
// that the last span holds; that span is then dropped.
func (m *Manifest) Enter(node string, epoch, after int64, head Position) {
	m.LatestSequence, m.ChainHead = head.Sequence, head.Chain
	m.open(node, epoch, after)
}

func (m *Manifest) open(node string, epoch, after int64) {
	m.NodeID, m.Epoch, m.Released, m.Fenced = node, epoch, false, false
	if n := len(m.Lineage); n > 0 {
		m.Lineage[n-1].To = after
		if m.Lineage[n-1].From > after {
			m.Lineage = m.Lineage[:n-1] // the span is empty
		}
	}
	m.Lineage = append(m.Lineage, Span{NodeID: node, Epoch: epoch, From: after + 1})
}

// Live reports whether the writer may still be at work, and rely on what it stores.
func (m *Manifest) Live() bool { return !m.Released && !m.Fenced }

// Counts reports whether b's session has a span in the lineage.
func (m *Manifest) Counts(b Batch) bool {
	return slices.ContainsFunc(m.Lineage, func(s Span) bool { return s.NodeID == b.NodeID && s.Epoch == b.Epoch && m.own(s) })
}

// check rejects a manifest that no DriftDB writer would store.
func (m *Manifest) check(name string) error {
	switch {
	case m.Name != name:
		return fmt.Errorf("it belongs to database %q", m.Name)
	case m.Pruned < 0 || m.Pruned > 0 && (len(m.Snapshots) == 0 || m.Pruned > m.Snapshots[0].Sequence):
		return errors.New("an object listed as pruned is still needed")
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
		return fmt.Errorf("it belongs to branch %q, whose writer is not %s", m.Branch, own)
	}
	if w := m.Lineage[len(m.Lineage)-1]; w.NodeID != m.NodeID || w.Epoch != m.Epoch || m.LatestSequence < w.From-1 {
		return errors.New("its lineage does not end with its writer")
	}
	if err := errors.Join(m.Largest.check(), m.checkOrigins()); err != nil {
		return err
	}
	for i, s := range m.Snapshots {
		if s.Sequence < 0 || s.Sequence > m.LatestSequence || i > 0 && s.Sequence < m.Snapshots[i-1].Sequence {
			return fmt.Errorf("snapshot %s is out of order", s.Key)
		}
	}
	return nil
}
