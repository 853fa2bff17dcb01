package inspect_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/inspect"
	"github.com/driftdb/driftdb-go/objstore"
)

// The inspector among the admin pages of a program, behind the program's own login.
func ExampleStore() {
	h, err := inspect.Store(driftdb.BackupConfig{Store: objstore.Mem()}, inspect.Options{
		Path:  "/admin/backups",
		Hosts: []string{"app.example.com"},
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer h.Close()
	mux := http.NewServeMux()
	mux.Handle("/admin/backups/", requireAdmin(h))

	w := httptest.NewRecorder()
	mux.ServeHTTP(w, httptest.NewRequest("GET", "http://app.example.com/admin/backups/", nil))
	fmt.Println(w.Code)
	// Output: 200
}

// One database's own backup among the admin pages of its program.
func serveAdmin(db *driftdb.DB, mux *http.ServeMux, serve func() error) error {
	h, err := inspect.DB(db, inspect.Options{
		Path:  "/admin/backup",             // where it is mounted
		Hosts: []string{"app.example.com"}, // as in the Host header
		Store: "s3://my-backups",           // for the commands on the pages
	})
	if err != nil {
		return err
	}
	defer h.Close()
	mux.Handle("/admin/backup/", requireAdmin(h))
	return serve()
}

var _ = serveAdmin

func requireAdmin(h http.Handler) http.Handler { return h }
