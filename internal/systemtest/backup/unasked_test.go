package backup_test

import (
	"context"
	"log/slog"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/s3test"
	"github.com/driftdb/driftdb-go/internal/systemtest"
	"github.com/driftdb/driftdb-go/objstore"
	"github.com/driftdb/driftdb-go/objstore/objstoretest"
)

// heard is what slog.Default() is told during a test.
type heard struct {
	mu   sync.Mutex
	text strings.Builder
}

func overhear(t *testing.T) *heard {
	h := &heard{}
	before := slog.Default()
	t.Cleanup(func() { slog.SetDefault(before) })
	slog.SetDefault(slog.New(slog.NewTextHandler(h, &slog.HandlerOptions{Level: slog.LevelDebug})))
	return h
}

func (h *heard) Write(p []byte) (int, error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.text.Write(p)
}

func (h *heard) String() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.text.String()
}

// TestRefusalIsHeard: a program that has set up no logger, and lives for a moment,
// hears what will not succeed by waiting.
func TestRefusalIsHeard(t *testing.T) {
	server := s3test.Start(t)
	good := driftdb.S3Config{
		Bucket: server.NewBucket(t), Region: server.Region, Endpoint: server.Endpoint,
		AccessKeyID: server.AccessKey, SecretAccessKey: server.SecretKey,
	}
	for want, change := range map[string]func(*driftdb.S3Config){
		"SignatureDoesNotMatch":        func(c *driftdb.S3Config) { c.SecretAccessKey = "wrong" },
		"check the credentials":        func(c *driftdb.S3Config) { c.AccessKeyID = "nobody" },
		"NoSuchBucket":                 func(c *driftdb.S3Config) { c.Bucket = "no-such-bucket" },
		"AuthorizationHeaderMalformed": func(c *driftdb.S3Config) { c.Region = "eu-nowhere-7" },
	} {
		t.Run(want, func(t *testing.T) {
			h := overhear(t)
			s3 := good
			change(&s3)
			began := time.Now()
			db, err := driftdb.Open(t.Context(), driftdb.Config{Name: "app", Path: filepath.Join(t.TempDir(), "a.sqlite"), S3: &s3})
			if err != nil {
				t.Fatal(err)
			}
			systemtest.Exec(t, db, "CREATE TABLE t(v)")
			_ = db.Close()
			took := time.Since(began)
			for _, part := range []string{want, "level=", "database=app", "msg=\"driftdb: "} {
				if !strings.Contains(h.String(), part) {
					t.Errorf("a session of %s was not told of %q: %q", took, part, h)
				}
			}
			if strings.Contains(h.String(), server.SecretKey) || strings.Contains(h.String(), "level=INFO") {
				t.Errorf("told too much: %s", h)
			}
		})
	}
}

// TestUnaskedIsBrief: what goes on failing is not repeated to a log that nobody has
// asked for, more than once a minute, and Info is not told at all. Whoever has a
// Logger or OnEvent gets everything there, and nothing elsewhere.
func TestUnaskedIsBrief(t *testing.T) {
	h := overhear(t)
	synctest.Test(t, func(t *testing.T) {
		var events int
		store := objstoretest.Break(objstore.Mem(), objstoretest.From(1, objstoretest.Fault{Kind: objstoretest.Fail, Err: objstore.ErrNoBucket}))
		silent := driftdb.Config{Name: "quiet", Path: ":memory:", Store: store}
		asked := silent
		asked.OnEvent = func(driftdb.Event) { events++ }
		for _, cfg := range []driftdb.Config{silent, asked} {
			db, err := driftdb.Open(context.Background(), cfg)
			if err != nil {
				t.Fatal(err)
			}
			systemtest.Exec(t, db, "CREATE TABLE t(v)")
			time.Sleep(5*time.Minute + time.Second)
			synctest.Wait()
			if err := db.Close(); err != nil {
				t.Log(err)
			}
		}
		if events < 20 {
			t.Errorf("OnEvent was told of %d events in 5 minutes", events)
		}
	})
	if n := strings.Count(h.String(), "kind=sync.failed"); n < 4 || n > 6 || strings.Contains(h.String(), "level=INFO") {
		t.Errorf("the default logger was told %d times that sync failed: %s", n, h)
	}
}
