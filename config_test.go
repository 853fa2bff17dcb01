package driftdb_test

import (
	"context"
	"errors"
	"log/slog"
	"path/filepath"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/internal/systemtest"
	"github.com/driftdb/driftdb-go/objstore"
	lib "modernc.org/sqlite/lib"
)

// configCases are settings of each field: what they set, and what Open says of them.
// Nothing ("") is said of what it takes.
var configCases = map[string]map[string]func(c *driftdb.Config){
	"Name": {
		`Name "" is empty; use 1 to 128`:  func(c *driftdb.Config) { c.Name = "" },
		`Name ".." would leave`:           func(c *driftdb.Config) { c.Name = ".." },
		`Name "a/b" has the character '/`: func(c *driftdb.Config) { c.Name = "a/b" },
	},
	"Path": {`Path is empty; give a file, or ":memory:"`: func(c *driftdb.Config) { c.Path = "" }},
	"NodeID": {
		"":                     func(c *driftdb.Config) { c.NodeID = "node-1" },
		`NodeID "x y" has the`: func(c *driftdb.Config) { c.NodeID = "x y" },
	},
	"S3":         {"both S3 and Store are set; choose one": func(c *driftdb.Config) { c.S3 = &driftdb.S3Config{Bucket: "b"} }},
	"Store":      {"": func(c *driftdb.Config) { c.Store = nil }},
	"ManualSync": {"": func(c *driftdb.Config) { c.ManualSync = false }},
	"ReadOnly":   {"ReadOnly needs a Path that is a file": func(c *driftdb.Config) { c.ReadOnly, c.Path = true, ":memory:" }},
	"SyncInterval": {
		"": func(c *driftdb.Config) { c.SyncInterval = time.Hour },
		"SyncInterval is negative (-1s); give a duration, or 0 for 5s": func(c *driftdb.Config) { c.SyncInterval = -time.Second },
	},
	"SyncGap": {
		"": func(c *driftdb.Config) { c.SyncGap = -1 },
		"SyncGap is 2m0s; give a duration up to 1m0s, 0 for 100ms, or a negative one for no gap": func(c *driftdb.Config) { c.SyncGap = 2 * time.Minute },
	},
	"CloseTimeout": {"": func(c *driftdb.Config) { c.CloseTimeout = -1 }},
	"ManifestInterval": {
		"ManifestInterval is negative (-1ns); give a duration, or 0 for 1m0s": func(c *driftdb.Config) { c.ManifestInterval = -1 },
	},
	"SnapshotEvery": {"": func(c *driftdb.Config) { c.SnapshotEvery = -1 }},
	"MaxBatchSize":  {"": func(c *driftdb.Config) { c.MaxBatchSize = -1 }},
	"Compression": {
		"": func(c *driftdb.Config) { c.Compression = driftdb.CompressionNone },
		"Compression is 9; give CompressionGzip or CompressionNone": func(c *driftdb.Config) { c.Compression = 9 },
	},
	"EncryptionKeys": {
		"wrong or missing encryption key: key 1 of 1 has 3 bytes; a key is 64 hex digits": func(c *driftdb.Config) { c.EncryptionKeys = []string{"abc"} },
		"EncryptionKeys need S3 or Store":                                                 func(c *driftdb.Config) { c.Store, c.EncryptionKeys = nil, []string{strings.Repeat("0", 64)} },
	},
	"Retry.MaxRetries": {"": func(c *driftdb.Config) { c.Retry.MaxRetries = -1 }},
	"Retry.BaseDelay":  {"Retry.BaseDelay is negative (-1ns); give a duration, or 0 for 500ms": func(c *driftdb.Config) { c.Retry.BaseDelay = -1 }},
	"Retry.MaxDelay":   {"Retry.MaxDelay is negative (-1ns); give a duration, or 0 for 30s": func(c *driftdb.Config) { c.Retry.MaxDelay = -1 }},
	"AutoRestore":      {"AutoRestore needs S3 or Store": func(c *driftdb.Config) { c.Store, c.AutoRestore = nil, true }},
	"Retention":        {"": func(c *driftdb.Config) { c.Retention = -1 }},
	"MaxLogBytes":      {"": func(c *driftdb.Config) { c.MaxLogBytes = -1 }},
	"RefuseTakeover": {
		"": func(c *driftdb.Config) { c.RefuseTakeover = true },
		"RefuseTakeover cannot be kept with AdvisoryFencing; choose one": func(c *driftdb.Config) { c.RefuseTakeover, c.AdvisoryFencing = true, true },
	},
	"LockWait":        {"": func(c *driftdb.Config) { c.LockWait = -1 }},
	"AdvisoryFencing": {"": func(c *driftdb.Config) { c.AdvisoryFencing = true }},
	"BusyTimeout":     {"": func(c *driftdb.Config) { c.BusyTimeout = -1 }},
	"CacheBytes": {
		"": func(c *driftdb.Config) { c.CacheBytes = 1 << 20 },
		"CacheBytes is -1; it is in bytes, from 1 MiB (1 << 20) to 1 TiB (1 << 40), or 0 for 64 MiB": func(c *driftdb.Config) { c.CacheBytes = -1 },
	},
	"MaxReaders": {
		"": func(c *driftdb.Config) { c.MaxReaders = -1 },
		"MaxReaders is 10001; give 1 to 10000, or 0": func(c *driftdb.Config) { c.MaxReaders = 10_001 },
	},
	"HeartbeatURL": {
		"HeartbeatURL: the URL does not begin with": func(c *driftdb.Config) { c.HeartbeatURL = "example.com/ping" },
		"HeartbeatURL needs S3 or Store":            func(c *driftdb.Config) { c.Store, c.HeartbeatURL = nil, "https://example.com/ping" },
		"HeartbeatURL cannot be kept with ReadOnly": func(c *driftdb.Config) { c.ReadOnly, c.HeartbeatURL = true, "https://example.com/ping" },
	},
	"OnConnect": nil, "Logger": nil, "OnEvent": nil, // functions: any will do

	"S3.Bucket":               {`S3.Bucket "a/b" is empty or has a slash`: onS3(func(c *driftdb.S3Config) { c.Bucket = "a/b" })},
	"S3.Region":               nil, // looked up elsewhere where there is none
	"S3.Prefix":               {"S3.Prefix: ": onS3(func(c *driftdb.S3Config) { c.Prefix = "a/../b" })},
	"S3.AccessKeyID":          {"S3.AccessKeyID and SecretAccessKey belong together": onS3(func(c *driftdb.S3Config) { c.AccessKeyID = "id" })},
	"S3.SecretAccessKey":      {"S3.AccessKeyID and SecretAccessKey belong together": onS3(func(c *driftdb.S3Config) { c.SecretAccessKey = "x" })},
	"S3.SessionToken":         {"S3.SessionToken needs its AccessKeyID": onS3(func(c *driftdb.S3Config) { c.SessionToken = "x" })},
	"S3.Endpoint":             {"S3.Endpoint is no URL such as": onS3(func(c *driftdb.S3Config) { c.Endpoint = "localhost:9000" })},
	"S3.ForcePathStyle":       nil,
	"S3.ServerSideEncryption": {`S3.ServerSideEncryption "yes" is unknown; choose one of`: onS3(func(c *driftdb.S3Config) { c.ServerSideEncryption = "yes" })},
	"S3.KMSKeyID":             {"S3.KMSKeyID needs the ServerSideEncryption": onS3(func(c *driftdb.S3Config) { c.KMSKeyID = "k" })},
	"S3.StorageClass":         {"S3.StorageClass GLACIER": onS3(func(c *driftdb.S3Config) { c.StorageClass = "GLACIER" })},
	"S3.DisableChecksums":     nil,
}

func onS3(change func(c *driftdb.S3Config)) func(c *driftdb.Config) {
	return func(c *driftdb.Config) {
		c.Store, c.S3 = nil, &driftdb.S3Config{Bucket: "b", Region: "r"}
		change(c.S3)
	}
}

// TestConfig goes through the fields: what is wrong with one is said in a line that names
// it, and what is fine opens a database that works.
func TestConfig(t *testing.T) {
	t.Parallel()
	for name := range fields(reflect.TypeFor[driftdb.Config](), "") {
		if _, there := configCases[name]; !there {
			t.Errorf("no case sets %s", name)
		}
	}
	for name, cases := range configCases {
		for want, set := range cases {
			cfg := systemtest.Config(t)
			set(&cfg)
			if want == "" {
				systemtest.Some(t, systemtest.Open(t, cfg), "t", 2)
				continue
			}
			err := systemtest.OpenError(t, cfg)
			if err == nil || strings.Contains(err.Error(), "\n") || !strings.HasPrefix(err.Error(), "driftdb: open: ") || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v, want %q", name, err, want)
			}
		}
	}
}

// fields are the names of a configuration's fields, and of those within.
func fields(of reflect.Type, prefix string) map[string]bool {
	out := map[string]bool{}
	for _, f := range reflect.VisibleFields(of) {
		typ := f.Type
		if typ.Kind() == reflect.Pointer {
			typ = typ.Elem()
		}
		if f.Name == "S3" {
			out[f.Name] = true
		}
		if typ.Kind() == reflect.Struct && typ.PkgPath() == of.PkgPath() {
			for name := range fields(typ, f.Name+".") {
				out[name] = true
			}
			continue
		}
		out[prefix+f.Name] = true
	}
	return out
}

// TestConfigAllAtOnce: all that is wrong is said, a line for each.
func TestConfigAllAtOnce(t *testing.T) {
	t.Parallel()
	err := systemtest.OpenError(t, driftdb.Config{
		S3: &driftdb.S3Config{Endpoint: "nowhere"}, Store: objstore.Mem(), Compression: 3, EncryptionKeys: []string{"short"},
		SyncInterval: -1, ManifestInterval: -1, CacheBytes: 64, MaxReaders: 1 << 20,
	})
	lines := strings.Split(err.Error(), "\n")
	for _, name := range []string{"Name", "Path", "S3.Bucket", "S3.Endpoint", "both S3", "EncryptionKeys", "Compression", "SyncInterval", "ManifestInterval", "CacheBytes", "MaxReaders"} {
		if len(lines) == 0 || !strings.Contains(lines[0], name) {
			t.Errorf("%v; want a line for %s next", err, name)
			return
		}
		lines = lines[1:]
	}
	if len(lines) != 0 || !errors.Is(err, driftdb.ErrKey) {
		t.Errorf("%v has %q more; ErrKey %v", err, lines, errors.Is(err, driftdb.ErrKey))
	}
}

// TestNegative: a negative number turns off what the field bounds.
func TestNegative(t *testing.T) {
	t.Parallel()
	cfg := systemtest.Config(t)
	cfg.SnapshotEvery, cfg.MaxLogBytes, cfg.BusyTimeout, cfg.LockWait = -1, -1, -1, -1
	cfg.MaxReaders, cfg.MaxBatchSize, cfg.Retention, cfg.Retry.MaxRetries = -1, -1, -1, -1
	db := systemtest.Open(t, cfg)
	systemtest.Some(t, db, "t", 1100)
	systemtest.Check(t, db.Flush(t.Context()))
	if m := db.Metrics(); !m.LastSnapshotAt.IsZero() || m.Barriers != 0 {
		t.Errorf("a snapshot nobody asked for: %+v", m)
	}
	systemtest.Exec(t, db, "VACUUM") // a barrier
	systemtest.Check(t, db.Flush(t.Context()))
	if m := db.Metrics(); m.LastSnapshotAt.IsZero() || m.Barriers != 1 {
		t.Errorf("no snapshot for a barrier: %+v", m)
	}
	if err := systemtest.OpenError(t, cfg); !errors.Is(err, driftdb.ErrLocked) {
		t.Errorf("a second Open: %v", err)
	}
	err := db.Tx(t.Context(), func(tx *driftdb.Tx) error {
		if _, err := tx.Exec(t.Context(), "INSERT INTO t(v) VALUES('x')"); err != nil {
			return err
		}
		return systemtest.ErrorOf(db.SQL().Exec("INSERT INTO t(v) VALUES('y')"))
	})
	var busy *driftdb.Error
	if !errors.As(err, &busy) || busy.Code != lib.SQLITE_BUSY {
		t.Errorf("beside a transaction: %v", err)
	}
}

// TestCacheBytes: connections that have read far more keep to CacheBytes together.
func TestCacheBytes(t *testing.T) {
	cfg := systemtest.Config(t)
	cfg.CacheBytes = 2 << 20
	db := systemtest.Open(t, cfg)
	systemtest.Exec(t, db, "CREATE TABLE t (id INTEGER PRIMARY KEY, a BLOB)")
	systemtest.Exec(t, db, "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 8000) INSERT INTO t (a) SELECT randomblob(1000) FROM n")
	const query = "SELECT sum(length(hex(substr(a, 900)))) FROM t"
	for range 2 {
		var n int64
		systemtest.Check(t, db.SQL().QueryRow(query).Scan(&n))
		cacheFull(t, db, cfg.CacheBytes)
		if _, err := driftdb.Select[int64](t.Context(), db, query); err != nil {
			t.Fatal(err)
		}
		cacheFull(t, db, cfg.CacheBytes)
	}
}

// cacheFull says that nearly all of the cache is used, and not more.
func cacheFull(t *testing.T, db *driftdb.DB, limit int64) {
	t.Helper()
	if n := driftdb.CacheUsed(db); n > limit || n < limit/10*9 {
		t.Errorf("%d bytes of %d are used", n, limit)
	}
}

// TestMaxReaders: no more read at the same time; who comes later waits, for its
// context at the most.
func TestMaxReaders(t *testing.T) {
	cfg := systemtest.Config(t)
	cfg.MaxReaders = 2
	db := systemtest.Open(t, cfg)
	systemtest.Exec(t, db, "CREATE TABLE t (id INTEGER PRIMARY KEY)")
	release, reading := make(chan bool), make(chan bool)
	var all sync.WaitGroup
	for range 2 {
		all.Go(func() {
			systemtest.Check(t, db.ReadTx(t.Context(), func(*driftdb.Tx) error {
				reading <- true
				<-release
				return nil
			}))
		})
		<-reading
	}
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := driftdb.Select[int64](ctx, db, "SELECT id FROM t")
	if !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "all 2") {
		t.Errorf("a third reader: %v", err)
	}
	systemtest.Exec(t, db, "INSERT INTO t DEFAULT VALUES") // who writes waits for no reader
	systemtest.Check(t, db.SQL().QueryRow("SELECT id FROM t").Err())
	close(release)
	if got, err := driftdb.Select[int64](t.Context(), db, "SELECT id FROM t"); err != nil || len(got) != 1 {
		t.Errorf("when they have ended: %v, %v", got, err)
	}
	all.Wait()
}

// TestMemoryConfig: what is out of range is refused with the field's name and its unit.
func TestMemoryConfig(t *testing.T) {
	for want, set := range map[string]func(*driftdb.Config){
		"CacheBytes is 64; it is in bytes":     func(c *driftdb.Config) { c.CacheBytes = 64 },
		"CacheBytes is -1; it is in bytes":     func(c *driftdb.Config) { c.CacheBytes = -1 },
		"CacheBytes is 2199023255552; it is":   func(c *driftdb.Config) { c.CacheBytes = 2 << 40 },
		"MaxReaders is 10001; give 1 to 10000": func(c *driftdb.Config) { c.MaxReaders = 10001 },
	} {
		cfg := driftdb.Config{Name: "app", Path: filepath.Join(t.TempDir(), "app.sqlite")}
		set(&cfg)
		db, err := driftdb.Open(t.Context(), cfg)
		if err == nil {
			db.Close()
		}
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v; want %q", err, want)
		}
	}
}

// TestEventsOfEvents: what a handler causes to be told is told after it has
// returned, so that calls still come one at a time.
func TestEventsOfEvents(t *testing.T) {
	var log *slog.Logger
	var one sync.Mutex // as many handlers have it
	var told []string
	tell := func(who, message string) {
		one.Lock()
		defer one.Unlock()
		told = append(told, who+" "+message)
		if len(message) < 3 {
			log.Info(message+"a", "scope", "test")
			log.With("k", "v").Info(message + "b")
		}
	}
	w := new(systemtest.Teller)
	w.Set(func(e driftdb.Event) { tell("Logger", e.Message) })
	log = driftdb.EventLogger(slog.New(w), func(e driftdb.Event) { tell("OnEvent", e.Message) }, "app")
	systemtest.Within(t, "an event of an event", func() { log.Info("x") })
	want := "OnEvent x, Logger x, OnEvent xa, OnEvent xb, OnEvent xa, OnEvent xb, " + strings.Repeat("OnEvent xaa, OnEvent xab, OnEvent xba, OnEvent xbb, ", 2)
	if got := strings.Join(told, ", ") + ", "; got != want {
		t.Errorf("told:\n%s\nwant:\n%s", got, want)
	}
	told = nil
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() { log.Info("y") })
	}
	systemtest.Within(t, "events of several goroutines", all.Wait)
	if len(told) != 8*(1+2+4) {
		t.Errorf("%d events: %v", len(told), told)
	}
}
