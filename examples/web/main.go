// Command web is a service whose database is a file beside it. Requests read and write it
// in this process; the backup follows in the background.
//
// The service is the only writer of its database. In a deployment the new version waits
// until the old one has closed the database: on the same disk for the file's lock, on
// another disk for the old writer's release in the store.
//
//	web -addr :8080 -db web.sqlite -store /mnt/backup
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"log"
	"net"
	"net/http"
	"os/signal"
	"syscall"
	"time"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/objstore"
)

// Visit is a row of the table visits, and its JSON.
type Visit struct {
	driftdb.Base
	Name string
}

func main() {
	addr := flag.String("addr", "localhost:8080", "where to listen")
	path := flag.String("db", "web.sqlite", "the database file")
	folder := flag.String("store", "", "an existing folder for the backup")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *addr, *path, *folder); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, addr, path, folder string) error {
	store, err := objstore.Dir(folder) // or Config.S3: &driftdb.S3Config{Bucket: "my-service"}
	if err != nil {
		return err
	}
	db, err := driftdb.Open(ctx, driftdb.Config{
		Name: "web", Path: path, Store: store,
		AutoRestore:    true, // a new disk begins with what the old one had
		RefuseTakeover: true, LockWait: 30 * time.Second,
	})
	if err != nil {
		return err
	}
	defer db.Close()
	visits, err := driftdb.Define[Visit](ctx, db, "visits")
	if err != nil {
		return err
	}

	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	log.Print("listening on ", listener.Addr())
	server := &http.Server{Handler: routes(db, visits), ReadHeaderTimeout: 10 * time.Second}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	return errors.Join(server.Shutdown(ctx), db.Shutdown(ctx)) // the store has everything now
}

func routes(db *driftdb.DB, visits *driftdb.Repository[Visit]) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /visits/{name}", func(w http.ResponseWriter, r *http.Request) {
		visit, err := visits.Create(r.Context(), Visit{Name: r.PathValue("name")})
		answer(w, visit, err)
	})
	mux.HandleFunc("GET /visits", func(w http.ResponseWriter, r *http.Request) {
		found, err := visits.Find(r.Context(), driftdb.Query{OrderBy: []driftdb.Order{driftdb.Desc("createdAt")}, Limit: 100})
		answer(w, found, err)
	})
	mux.HandleFunc("GET /health", func(w http.ResponseWriter, _ *http.Request) { answer(w, db.Metrics(), nil) })
	return mux
}

func answer(w http.ResponseWriter, v any, err error) {
	if err != nil {
		log.Print(err)
		http.Error(w, "it did not work", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(v); err != nil {
		log.Print(err)
	}
}
