package inspect

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/objstore"
)

// notFound is an error of an address that leads nowhere.
type notFound struct{ error }

// badRequest is an error of what the visitor has typed.
type badRequest struct{ error }

func bad(format string, args ...any) error { return badRequest{fmt.Errorf(format, args...)} }

// failureBody is what a page about an error shows.
type failureBody struct {
	Status int
	What   string
	Why    string
	Next   string // what to do
	Again  string // the same page, opened from here
}

// known lists the errors that have a status or a next step of their own. The first match
// counts.
var known = []struct {
	err    error
	status int
	what   string
	next   string
}{
	{driftdb.ErrNoStore, http.StatusNotFound, "There is no backup", "The database has no store. Set S3 or Store in its configuration."},
	{driftdb.ErrNoBackup, http.StatusNotFound, "The backup does not have that", "The overview shows which changes it has."},
	{driftdb.ErrKey, http.StatusForbidden, "The key is wrong or missing", "Start the inspector with the keys of this backup."},
	{driftdb.ErrVersion, http.StatusNotImplemented, "A newer version wrote this", "Upgrade this program."},
	{driftdb.ErrCorrupt, http.StatusBadGateway, "The backup is damaged", "driftdb verify tells what can still be restored, and driftdb repair makes a lost manifest again."},
	{driftdb.ErrRolledBack, http.StatusConflict, "The history has changed", "Another writer took over. Open the page again."},
	{driftdb.ErrClosed, http.StatusServiceUnavailable, "The database is closed", "Start the program again that has it open."},
	{objstore.ErrNoBucket, http.StatusBadGateway, "The store is not there", "Check its URL."},
	{objstore.ErrUnreachable, http.StatusBadGateway, "The store cannot be reached", "Check the network, and open the page again."},
	{errTooLong, http.StatusGatewayTimeout, "This takes too long", ""},
	{context.DeadlineExceeded, http.StatusGatewayTimeout, "The store does not answer in time", "Open the page again."},
	{errForeign, http.StatusForbidden, "This page costs work", "Go on only if you wanted to come here."},
}

// errForeign means that another site's link leads to a page that is much work.
var errForeign = errors.New("a link on another site leads here, and the page restores a part of the backup")

// costly makes a page refuse to be opened by another site.
func costly(page func(*visit) (*view, error)) func(*visit) (*view, error) {
	return func(v *visit) (*view, error) {
		if !own(v.Request) {
			return nil, errForeign
		}
		return page(v)
	}
}

// fail shows an error.
func (h *Handler) fail(w http.ResponseWriter, r *http.Request, err error) {
	b := failureBody{Status: http.StatusInternalServerError, What: "That did not work", Why: err.Error()}
	if _, ok := errors.AsType[notFound](err); ok {
		b.Status, b.What = http.StatusNotFound, "There is no such thing"
	} else if _, ok := errors.AsType[badRequest](err); ok {
		b.Status, b.What, b.Next = http.StatusBadRequest, "That cannot be read", "Correct it, and try again."
	}
	for _, k := range known {
		if errors.Is(err, k.err) {
			b.Status, b.What, b.Next = k.status, k.what, k.next
			break
		}
	}
	if errors.Is(err, errForeign) {
		b.Again = r.URL.RequestURI()
	}
	if _, ok := errors.AsType[largeRestore](err); ok {
		query := r.URL.Query()
		query.Set("sure", "yes")
		b.Status, b.What, b.Next, b.Again = http.StatusPreconditionRequired, "This is a large restore", "", r.URL.Path+"?"+query.Encode()
	}
	h.showFailure(w, r, b)
}

// refuse shows why a request is not answered.
func (h *Handler) refuse(w http.ResponseWriter, r *http.Request, status int, what, why string) {
	h.showFailure(w, r, failureBody{Status: status, What: what, Why: why})
}

func (h *Handler) showFailure(w http.ResponseWriter, r *http.Request, b failureBody) {
	h.show(w, r, b.Status, &view{template: "failure", Title: b.What, Body: b})
}

// askToken shows the form for the token.
func (h *Handler) askToken(w http.ResponseWriter, r *http.Request, wrong bool) {
	h.show(w, r, http.StatusUnauthorized, &view{template: "token", Title: "Token", Body: struct {
		Wrong  bool
		Action string
	}{wrong, h.o.Path + "/"}})
}
