package jsbucket

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/driftdb/driftdb-go/objstore"
)

// The package's current layout, below its prefix ("driftdb" by default):
//
//	databases/{name}/manifest.json
//	databases/{name}/nodes/{node}/logs/{from}-{to}.json   12 digits each
//	databases/{name}/nodes/{node}/snapshots/{ms}.sqlite   Unix milliseconds
//
// Before it had names of databases, each node had a manifest of its own:
//
//	nodes/{node}/manifest.json
//	nodes/{node}/logs/…, nodes/{node}/snapshots/…
//
// Keys in a manifest are relative to the prefix.

// source is what of a bucket makes one database.
type source struct {
	name      string // of the database; of the node in the old layout
	node      string
	others    []string
	manifest  manifest
	batches   []span   // by first change, the longest first
	snapshots []string // keys, the newest first
}

// span is a batch that is listed.
type span struct {
	key      string
	from, to int64
}

// manifest is the part of manifest.json that matters here.
type manifest struct {
	NodeID            string `json:"nodeId"`
	LatestSnapshotKey string `json:"latestSnapshotKey"`
	LatestLogSequence int64  `json:"latestLogSequence"`
	FormatVersion     int    `json:"formatVersion"` // only DriftDB for Go writes it
}

// find looks for the database and the node, and lists what they have.
func find(ctx context.Context, b Bucket, name, node string) (src source, err error) {
	names, err := folders(ctx, b, "databases/")
	if err != nil {
		return src, err
	}
	root := "databases/" + name + "/"
	switch {
	case name == "" && len(names) == 0:
		return findOld(ctx, b, node)
	case name == "" && len(names) > 1:
		return src, fmt.Errorf("%w: the bucket has several databases, name one of them: %s", ErrNone, strings.Join(names, ", "))
	case name == "":
		name = names[0]
		root = "databases/" + name + "/"
	case !slices.Contains(names, name):
		return src, fmt.Errorf("%w: there is no database %q; there are: %s", ErrNone, name, listed(names))
	}
	src.name = name
	if src.manifest, err = readManifest(ctx, b, root+"manifest.json"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return src, err
	}
	if src.manifest.FormatVersion > 0 {
		return src, fmt.Errorf("%w: %q is a backup of DriftDB for Go; restore it with driftdb restore", ErrNone, name)
	}
	nodes, err := folders(ctx, b, root+"nodes/")
	if err != nil {
		return src, err
	}
	if err := src.choose(nodes, node); err != nil {
		return src, err
	}
	if err := src.list(ctx, b, root+"nodes/"+src.node+"/"); err != nil {
		return src, err
	}
	return src, src.complete()
}

// findOld is find in the layout without names of databases.
func findOld(ctx context.Context, b Bucket, node string) (src source, err error) {
	nodes, err := folders(ctx, b, "nodes/")
	if err != nil {
		return src, err
	}
	if len(nodes) == 0 {
		return src, fmt.Errorf("%w: there is neither databases/ nor nodes/ below the prefix; the package's default prefix is driftdb", ErrNone)
	}
	if err := src.choose(nodes, node); err != nil {
		return src, err
	}
	src.name = src.node
	root := "nodes/" + src.node + "/"
	if src.manifest, err = readManifest(ctx, b, root+"manifest.json"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return src, err
	}
	if err := src.list(ctx, b, root); err != nil {
		return src, err
	}
	return src, src.complete()
}

// choose chooses the node: the one that is asked for, the manifest's, or the only one.
func (src *source) choose(nodes []string, node string) error {
	if node == "" {
		node = src.manifest.NodeID
	}
	if node == "" && len(nodes) == 1 {
		node = nodes[0]
	}
	switch {
	case node == "":
		return fmt.Errorf("%w: nothing says which of the nodes to read; choose one of them: %s", ErrNone, listed(nodes))
	case !slices.Contains(nodes, node):
		return fmt.Errorf("%w: there is no node %q; there are: %s", ErrNone, node, listed(nodes))
	}
	src.node = node
	src.others = slices.DeleteFunc(nodes, func(n string) bool { return n == node })
	return nil
}

// list lists the batches and snapshots of the node. Anything else there is not the
// package's, or was moved out of the way, and is left alone.
func (src *source) list(ctx context.Context, b Bucket, root string) error {
	for info, err := range b.List(ctx, root+"logs/", objstore.ListOptions{}) {
		if err != nil {
			return err
		}
		if from, to, ok := parseSpan(strings.TrimPrefix(info.Key, root+"logs/")); ok {
			src.batches = append(src.batches, span{info.Key, from, to})
		}
	}
	slices.SortFunc(src.batches, func(a, b span) int { return cmp.Or(cmp.Compare(a.from, b.from), cmp.Compare(b.to, a.to)) })
	for info, err := range b.List(ctx, root+"snapshots/", objstore.ListOptions{}) {
		if err != nil {
			return err
		}
		if path.Dir(info.Key)+"/" == root+"snapshots/" && snapshotTime(info.Key) >= 0 {
			src.snapshots = append(src.snapshots, info.Key)
		}
	}
	// A node that began with another one's snapshot may have none of its own yet.
	if key := src.manifest.LatestSnapshotKey; key != "" && !slices.Contains(src.snapshots, key) && snapshotTime(key) >= 0 && src.node == src.manifest.NodeID {
		src.snapshots = append(src.snapshots, key)
	}
	slices.SortFunc(src.snapshots, func(a, b string) int { return cmp.Compare(snapshotTime(b), snapshotTime(a)) })
	return nil
}

// complete fails if there is nothing at all.
func (src *source) complete() error {
	if len(src.batches) == 0 && len(src.snapshots) == 0 {
		return fmt.Errorf("%w: %s of node %s has neither snapshots nor batches", ErrNone, src.name, src.node)
	}
	return nil
}

// gap is the error about changes that are missing, with the name that their object has.
func gap(from, to int64, why string) error {
	return fmt.Errorf("%w: changes %d to %d are missing, which would be in logs/%012d-….json: %s", ErrDamaged, from, to, from, why)
}

// parseSpan reads a batch's name, such as 000000000001-000000000100.json.
func parseSpan(name string) (from, to int64, ok bool) {
	name, ok = strings.CutSuffix(name, ".json")
	a, b, both := strings.Cut(name, "-")
	if !ok || !both || len(a) < 12 || len(b) < 12 {
		return 0, 0, false
	}
	from, err1 := strconv.ParseInt(a, 10, 64)
	to, err2 := strconv.ParseInt(b, 10, 64)
	return from, to, err1 == nil && err2 == nil && from >= 1 && from <= to
}

// snapshotTime is the time in a snapshot's name; -1 if it is not one.
func snapshotTime(key string) int64 {
	name, ok := strings.CutSuffix(path.Base(key), ".sqlite")
	ms, err := strconv.ParseInt(name, 10, 64)
	if !ok || err != nil || ms < 0 || objstore.ValidKey(key) != nil {
		return -1
	}
	return ms
}

// folders lists the folders below a prefix.
func folders(ctx context.Context, b Bucket, prefix string) (names []string, err error) {
	for info, err := range b.List(ctx, prefix, objstore.ListOptions{Folders: true}) {
		if err != nil {
			return nil, err
		}
		if name, ok := strings.CutSuffix(strings.TrimPrefix(info.Key, prefix), "/"); ok && name != "" {
			names = append(names, name)
		}
	}
	return names, nil
}

// readManifest reads a manifest, which the package neither compresses nor encrypts.
func readManifest(ctx context.Context, b Bucket, key string) (m manifest, err error) {
	text, err := read(ctx, b, key, 1<<20)
	if err != nil {
		return m, err
	}
	if err := json.Unmarshal(text, &m); err != nil {
		return m, fmt.Errorf("%w: %s: %w", ErrDamaged, key, err)
	}
	return m, nil
}

func listed(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}
