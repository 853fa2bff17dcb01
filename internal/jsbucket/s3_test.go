package jsbucket

import (
	"bytes"
	"path/filepath"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/driftdb/driftdb-go/internal/dbtest"
	"github.com/driftdb/driftdb-go/internal/s3test"
	"github.com/driftdb/driftdb-go/objstore"
	"github.com/driftdb/driftdb-go/objstore/s3store"
)

// TestS3: objects that a server has with the headers that the package gives them. They say
// that the content is gzip, also where it is encrypted.
func TestS3(t *testing.T) {
	srv := s3test.Start(t)
	for name, encrypted := range map[string]string{"compressed": "", "encrypted": key} {
		t.Run(name, func(t *testing.T) {
			p := newProgram(t)
			p.key = encrypted
			p.some()
			p.sync()
			p.snapshot()
			p.some()
			p.sync()
			bucket, client, encoding := srv.NewBucket(t), srv.Client(t), "gzip"
			for info, err := range p.store.List(t.Context(), "", objstore.ListOptions{}) {
				ok(t, err)
				data, err := read(t.Context(), p.store, info.Key, 1<<30)
				ok(t, err)
				put := &s3.PutObjectInput{Bucket: &bucket, Key: new("driftdb/" + info.Key), Body: bytes.NewReader(data)}
				if filepath.Base(info.Key) != "manifest.json" {
					put.ContentEncoding, put.Metadata = &encoding, map[string]string{"x-driftdb-compressed": "1"}
				}
				_, err = client.PutObject(t.Context(), put)
				ok(t, err)
			}
			store, err := s3store.New(t.Context(), s3store.Config{
				Bucket: bucket, Region: srv.Region, Endpoint: srv.Endpoint, ForcePathStyle: new(true), AccessKeyID: srv.AccessKey, SecretAccessKey: srv.SecretKey,
			})
			ok(t, err)
			path := filepath.Join(t.TempDir(), "new.sqlite")
			o := Options{Path: path}
			if encrypted != "" {
				o.Keys = []string{encrypted}
			}
			_, err = Run(t.Context(), store, o)
			ok(t, err)
			dbtest.Equal(t, p.want(), path)
		})
	}
}
