package driftdb_test

import (
	"context"
	"encoding/json"
	"log"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/objstore"
)

// The Go code of the pages in docs, so that it is compiled. TestGuidesCompile compares.
var _ = []any{
	adoptFile, replaceDriver, serveHealth, watchEvents, inAmazonS3, onR2, inFolder, viewPast, mergeFile, waitForBucket, deploy, endOnSignal, openMemory, follow, promote,
}

// User is a row of the table users.
type User struct {
	driftdb.Base
	Name string
}

func adoptFile(ctx context.Context) (*driftdb.DB, error) {
	db, err := driftdb.Open(ctx, driftdb.Config{
		Name: "app",
		Path: "data/app.sqlite", // made without DriftDB
		S3:   &driftdb.S3Config{Bucket: "my-backups"},
	})
	return db, err
}

func replaceDriver(ctx context.Context) error {
	db, err := driftdb.Open(ctx, driftdb.Config{Name: "app", Path: "data/app.sqlite", S3: &driftdb.S3Config{Bucket: "my-backups"}})
	if err != nil {
		return err
	}
	defer db.Close() // and not sqlDB.Close()
	sqlDB := db.SQL()
	return sqlDB.PingContext(ctx)
}

func serveHealth(mux *http.ServeMux, db *driftdb.DB) {
	mux.HandleFunc("GET /health", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if err := json.NewEncoder(w).Encode(db.Metrics()); err != nil {
			log.Print(err)
		}
	})
}

func watchEvents(cfg *driftdb.Config, callSomebody func(string)) {
	cfg.Logger = slog.Default()
	cfg.OnEvent = func(e driftdb.Event) {
		switch e.Kind {
		case driftdb.EventFenced, driftdb.EventDiverged, driftdb.EventFileReplaced, driftdb.EventDigestMismatch:
			callSomebody(e.Message)
		}
	}
}

func inAmazonS3(cfg *driftdb.Config) {
	cfg.S3 = &driftdb.S3Config{Bucket: "my-backups", Region: "eu-west-1"}
}

func onR2(cfg *driftdb.Config) {
	cfg.S3 = &driftdb.S3Config{
		Bucket:          "my-backups",
		Region:          "auto",
		Endpoint:        "https://ACCOUNT.r2.cloudflarestorage.com",
		AccessKeyID:     os.Getenv("R2_KEY"),
		SecretAccessKey: os.Getenv("R2_SECRET"),
	}
}

func inFolder(cfg *driftdb.Config) error {
	store, err := objstore.Dir("/mnt/backup/driftdb")
	if err != nil {
		return err
	}
	cfg.Store = store
	return nil
}

func viewPast(ctx context.Context, backup *driftdb.Backup) (*driftdb.DB, error) {
	past, err := backup.View(ctx, driftdb.Point{Sequence: 5})
	return past, err
}

func mergeFile(ctx context.Context) (driftdb.ResolveResult, error) {
	res, err := driftdb.Resolve(ctx, driftdb.ResolveConfig{
		Name: "notes", Path: "notes.sqlite",
		S3:     &driftdb.S3Config{Bucket: "my-backups", Region: "eu-west-1"},
		Prefer: driftdb.Ours,
	})
	return res, err
}

func waitForBucket(ctx context.Context, db *driftdb.DB, users *driftdb.Repository[User]) error {
	user, err := users.Create(ctx, User{Name: "Alice"})
	if err != nil {
		return err
	}
	if err := db.WaitSynced(ctx, db.Sequence()); err != nil {
		return err // it is committed, and will be sent, but is not known to be in the bucket
	}
	log.Print(user.ID)
	return nil
}

func deploy(cfg *driftdb.Config) {
	cfg.AutoRestore = true          // for a new volume
	cfg.RefuseTakeover = true       // a database that another machine writes is left to it
	cfg.LockWait = 30 * time.Second // how long Open waits for the old version to end
}

func endOnSignal(db *driftdb.DB) {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	<-ctx.Done()
	if err := db.Close(); err != nil {
		log.Print(err) // ErrUnsent: the next start sends the rest
	}
}

func openMemory(ctx context.Context, home string, store objstore.Store) (*driftdb.DB, error) {
	db, err := driftdb.Open(ctx, driftdb.Config{
		Name:        "memory",
		Path:        filepath.Join(home, ".agent", "memory.sqlite"),
		Store:       store,
		AutoRestore: true,
	})
	return db, err
}

func follow(ctx context.Context, s3 driftdb.S3Config) (*driftdb.Repository[User], error) {
	b, err := driftdb.OpenBackup(ctx, driftdb.BackupConfig{Name: "app", S3: &s3})
	if err != nil {
		return nil, err
	}
	f, err := b.Follow(ctx, "replica.sqlite", driftdb.FollowConfig{})
	if err != nil {
		return nil, err
	}
	users, err := driftdb.Define[User](ctx, f.DB(), "users") // reads; every write is ErrReadOnly
	return users, err
}

func promote(ctx context.Context, f *driftdb.Follower) (*driftdb.DB, error) {
	db, err := f.Promote(ctx, driftdb.Config{})
	return db, err
}
