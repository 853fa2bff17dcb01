package main

import (
	"testing"

	"github.com/driftdb/driftdb-go"
)

// TestStorePlace: what is remembered of a store says where it is. However it
// is reached, and with whose credentials, is left out.
func TestStorePlace(t *testing.T) {
	const minio = "s3://bucket/a/b?endpoint=http%3A%2F%2Flocalhost%3A9000"
	for _, c := range []struct{ url, want string }{
		{"file:///srv/store", "file:///srv/store"},
		{"file:///srv//store/", "file:///srv/store"},
		{"s3://bucket", "s3://bucket/driftdb"},
		{"s3://bucket/", "s3://bucket/driftdb"},
		{"s3://bucket/driftdb", "s3://bucket/driftdb"},
		{"s3://bucket?prefix=/&region=eu-west-1", "s3://bucket/"},
		{"s3://bucket/a/b?region=eu-west-1", "s3://bucket/a/b"},
		{"s3://id:secret@bucket/a/b?region=eu-west-1&secret=x", "s3://bucket/a/b"},
		{"s3://bucket/a/b?path_style=true&endpoint=http://localhost:9000&checksums=false", minio},
		{"s3://bucket/a/b/?endpoint=http://id:secret@localhost:9000?key=x", minio},
		{"s3://bucket/%zz", ""},
	} {
		if got := storePlace(c.url); got != c.want {
			t.Errorf("%s: %q, want %q", c.url, got, c.want)
		}
	}
}

// TestVerifiedFile: each backup is remembered in a file of its own.
func TestVerifiedFile(t *testing.T) {
	seen := map[string]bool{}
	for _, v := range []verified{
		verifiedOf("file:///a", driftdb.BackupInfo{Name: "app", DatabaseID: "1"}),
		verifiedOf("file:///a/", driftdb.BackupInfo{Name: "app", DatabaseID: "1", Sequence: 7}), // the same
		verifiedOf("file:///b", driftdb.BackupInfo{Name: "app", DatabaseID: "1"}),
		verifiedOf("file:///a", driftdb.BackupInfo{Name: "b", DatabaseID: "1"}),
		verifiedOf("file:///a", driftdb.BackupInfo{Name: "app", DatabaseID: "2"}),
	} {
		file, err := v.file()
		if err != nil {
			t.Skip("this machine has no cache folder:", err)
		}
		seen[file] = true
	}
	if len(seen) != 4 {
		t.Errorf("%d files for 4 backups: %v", len(seen), seen)
	}
}
