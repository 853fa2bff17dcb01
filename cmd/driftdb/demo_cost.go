package main

import (
	"context"
	"io"
	"iter"
	"net/url"
	"path/filepath"
	"strings"
	"sync/atomic"

	"github.com/driftdb/driftdb-go/internal/wrap"
	"github.com/driftdb/driftdb-go/objstore"
)

// Prices of Amazon S3 Standard in us-east-1, in US dollars for a request, in 2026.
const (
	pricePut = 0.005 / 1000  // PUT and LIST
	priceGet = 0.0004 / 1000 // GET
)

// meteredStore counts the requests to a store, as a provider does.
type meteredStore struct {
	wrap.Meter
	puts, gets, lists atomic.Int64
}

// metered returns a store of the demo.
func (d *demo) metered(s objstore.Store) *meteredStore {
	m := &meteredStore{Meter: wrap.Meter{Store: s}}
	d.stores = append(d.stores, m)
	return m
}

func (m *meteredStore) Put(ctx context.Context, key string, body io.Reader, o objstore.PutOptions) (objstore.Info, error) {
	m.puts.Add(1)
	return m.Meter.Put(ctx, key, body, o)
}

func (m *meteredStore) Get(ctx context.Context, key string, o objstore.GetOptions) (io.ReadCloser, objstore.Info, error) {
	m.gets.Add(1)
	return m.Meter.Get(ctx, key, o)
}

func (m *meteredStore) List(ctx context.Context, prefix string, o objstore.ListOptions) iter.Seq2[objstore.Info, error] {
	m.lists.Add(1)
	return m.Meter.List(ctx, prefix, o)
}

// cost tells what the demo would have cost.
func (d *demo) cost(_ context.Context, r *demoResult) error {
	d.title("What it cost")
	var puts, lists, gets int64
	for _, s := range d.stores {
		puts, lists, gets = puts+s.puts.Load(), lists+s.lists.Load(), gets+s.gets.Load()
		r.UploadedBytes += s.Bytes.Load()
	}
	r.Requests = puts + lists + gets
	d.say("   %d PUT, %d LIST and %d GET requests, %s sent: $%.5f at Amazon S3.", puts, lists, gets, size(r.UploadedBytes),
		float64(puts+lists)*pricePut+float64(gets)*priceGet)
	d.say("   A month of a write every second costs $3.11 there, and an idle one nothing.")
	return nil
}

// next says what to do with what was learned.
func (d *demo) next() {
	d.say("\nWhat to type next:")
	if !d.kept {
		d.say("   driftdb demo --dir demo      the same, kept to look at")
		d.say("   driftdb import --help        a CSV file of yours, in a bucket of yours")
		d.say("   driftdb help                 everything else")
		return
	}
	path := filepath.ToSlash(d.bucket)
	d.say("   store='%s'", (&url.URL{Scheme: "file", Path: "/" + strings.TrimPrefix(path, "/")}).String())
	for _, c := range []string{"status --store \"$store\"", "log --store \"$store\" --name demo", "inspect --store \"$store\""} {
		d.say("   driftdb %s", c)
	}
}
