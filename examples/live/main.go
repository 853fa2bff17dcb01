// Command live is a wall of messages that browsers see grow. One process is the writer; any
// number of others, on other machines, follow it and serve the same pages. If the writer's
// machine is lost, one of them is promoted.
//
//	live -addr :8080 -db live.sqlite -store /mnt/backup
//	live -addr :8081 -db copy.sqlite -store /mnt/backup -follow
//
//	curl -X POST -d Hello localhost:8080/messages
//	curl localhost:8081/messages?after=2      # the number that the POST has returned
//	curl -N localhost:8081/events             # server-sent events
//	curl -X POST localhost:8081/promote
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

func main() {
	addr := flag.String("addr", "localhost:8080", "where to listen")
	path := flag.String("db", "live.sqlite", "the database file")
	folder := flag.String("store", "", "an existing folder for the backup")
	follows := flag.Bool("follow", false, "follow the writer instead of being it")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *addr, *path, *folder, *follows); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, addr, path, folder string, follows bool) error {
	store, err := objstore.Dir(folder) // or Config.S3: &driftdb.S3Config{Bucket: "my-wall"}
	if err != nil {
		return err
	}
	w := &wall{cfg: driftdb.Config{
		Name: "live", Path: path, Store: store, AutoRestore: true,
		ManifestInterval: time.Second, // so followers are no further behind
	}}
	if err := w.open(ctx, follows); err != nil {
		return err
	}
	defer w.close()

	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	log.Print("listening on ", listener.Addr())
	server := &http.Server{
		Handler: w.routes(), ReadHeaderTimeout: 10 * time.Second,
		BaseContext: func(net.Listener) context.Context { return ctx }, // streams of events end with the program
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	return server.Shutdown(ctx)
}

func (w *wall) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /messages", w.post)
	mux.HandleFunc("GET /messages", w.list)
	mux.HandleFunc("GET /events", w.events)
	mux.HandleFunc("POST /promote", w.promote)
	mux.HandleFunc("GET /health", w.health)
	return mux
}

func answer(w http.ResponseWriter, v any, err error) {
	code := http.StatusInternalServerError
	switch {
	case err == nil:
		w.Header().Set("Content-Type", "application/json")
		if err := json.NewEncoder(w).Encode(v); err != nil {
			log.Print(err)
		}
		return
	case errors.Is(err, driftdb.ErrReadOnly), errors.Is(err, driftdb.ErrFenced):
		code = http.StatusMisdirectedRequest // another process is the writer
	case errors.Is(err, context.DeadlineExceeded):
		code = http.StatusGatewayTimeout
	default:
		log.Print(err)
	}
	http.Error(w, http.StatusText(code), code)
}
