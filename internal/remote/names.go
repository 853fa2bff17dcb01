// Package remote defines the contents of a bucket: how objects are named, what the
// manifest says, whose objects count, and who may write.
//
//	databases/{name}/manifest.json
//	databases/{name}/nodes/{nodeId}/logs/{from}-{to}.e{epoch}.json
//	databases/{name}/nodes/{nodeId}/snapshots/{unix ms}.sqlite
//	databases/{name}/nodes/{nodeId}/branches/{from}-{to}.e{epoch}.json
//	databases/{name}/nodes/{nodeId}/branches/{from}-{to}.e{epoch}/{unix ms}.sqlite
//	databases/{name}/nodes/{nodeId}/probe
//
// Apart from Rekey, batches, snapshots and branches' manifests are written once. Only the
// manifest is replaced, by compare-and-swap.
package remote

import (
	"cmp"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/driftdb/driftdb-go/objstore"
)

// ErrName means that a database name or node id cannot be part of a key.
var ErrName = errors.New("invalid name")

// maxName keeps keys well below the limits of stores and file systems.
const maxName = 128

const databases = "databases/"

// CheckName returns an error unless name can be part of a key: 1 to 128 letters, digits,
// dots, underscores and hyphens, and neither "." nor "..". The error calls the name what.
func CheckName(what, name string) error {
	bad := func(why string) error {
		return fmt.Errorf("%w: %s %q %s; use 1 to %d letters, digits, dots, underscores and hyphens", ErrName, what, name, why, maxName)
	}
	switch {
	case name == "":
		return bad("is empty")
	case len(name) > maxName:
		return bad("is too long")
	case name == "." || name == "..":
		return bad("would leave its folder")
	}
	for _, c := range name {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '.', c == '_', c == '-':
		default:
			return bad(fmt.Sprintf("has the character %q", c))
		}
	}
	return nil
}

func manifestKey(name string) string { return folder(name) + "manifest.json" }

func folder(name string) string { return databases + name + "/" }

func nodesFolder(name string) string { return folder(name) + "nodes/" }

func nodeFolder(name, node string) string { return nodesFolder(name) + node + "/" }

func logFolder(name, node string) string { return nodeFolder(name, node) + "logs/" }

func snapshotFolder(name, node string) string { return nodeFolder(name, node) + "snapshots/" }

func branchFolder(name, node string) string { return nodeFolder(name, node) + "branches/" }

// branchKey is the key of branch o's manifest.
func branchKey(name string, o Batch) string { return branchFolder(name, o.NodeID) + o.file() }

// BranchSnapshotKey is the key of a snapshot of branch o taken at the time ms.
func BranchSnapshotKey(name string, o Batch, ms int64) string {
	return strings.TrimSuffix(branchKey(name, o), ".json") + "/" + strconv.FormatInt(ms, 10) + ".sqlite"
}

// Batch names a batch object or a branch: its range and the session that wrote it.
type Batch struct {
	NodeID   string
	From, To int64
	Epoch    int64
	Size     int64 // of the object, when it was listed

	home home // whose object it is
}

// maxSequence is the largest number of twelve digits, so that names sort like numbers.
const maxSequence = 999_999_999_999

// branch is the id that a branch of the batch's session would have.
func (b Batch) branch() string { return Branch{NodeID: b.NodeID, Epoch: b.Epoch}.ID() }

func (b Batch) file() string { return fmt.Sprintf("%012d-%012d.e%d.json", b.From, b.To, b.Epoch) }

// BatchKey is the key of batch b of database name.
func BatchKey(name string, b Batch) string { return logFolder(name, b.NodeID) + b.file() }

// key is the key of batch o, which may be another database's.
func (b *Bucket) key(o Batch) string { return BatchKey(cmp.Or(o.home.name, b.name), o) }

// ParseBatch parses the key of a batch of this database.
func (b *Bucket) ParseBatch(key string) (Batch, bool) {
	o := classify(objstore.Info{Key: key}, strings.TrimPrefix(key, nodesFolder(b.name)))
	return o.batch, o.kind == batchObject
}

// SnapshotKey is the key of a snapshot that node took at the time ms.
func SnapshotKey(name, node string, ms int64) string {
	return snapshotFolder(name, node) + strconv.FormatInt(ms, 10) + ".sqlite"
}

// maxEpoch is far above any epoch that a session takes, and far below the limit of int64:
// no foreign name can leave later sessions without an epoch.
const maxEpoch = 1 << 53

// parseBatch parses the file name of a batch. Other files in the folder are foreign and
// are skipped.
func parseBatch(node, file string) (Batch, bool) {
	b := Batch{NodeID: node}
	rest, ok := strings.CutSuffix(file, ".json")
	if !ok {
		return b, false
	}
	span, epoch, ok := strings.Cut(rest, ".e")
	if !ok {
		return b, false
	}
	from, to, ok := strings.Cut(span, "-")
	if !ok {
		return b, false
	}
	var err [3]error
	b.From, err[0] = strconv.ParseInt(from, 10, 64)
	b.To, err[1] = strconv.ParseInt(to, 10, 64)
	b.Epoch, err[2] = strconv.ParseInt(epoch, 10, 64)
	ok = errors.Join(err[:]...) == nil && b.From >= 1 && b.To >= b.From && b.To <= maxSequence && b.Epoch >= 1 && b.Epoch <= maxEpoch
	return b, ok && b.file() == file
}
