// Package inspect shows backups in a web browser: which a store has, how each one has grown,
// its log, its transactions, the life of a row, tables as they were, and what differs
// between two points. [Store], [Backup] and [DB] return an http.Handler, to mount in a
// program's own admin pages or to serve alone with [Handler.Serve]; the command driftdb
// inspect does that.
//
// It only reads: no page changes the bucket or the database. A page that shows tables as
// they were restores the backup to a temporary file on this machine, which is deleted some
// minutes later or by [Handler.Close].
//
// # Who may look
//
// The pages show everything that is in the backup, but no key and no credential. A Handler
// answers requests whose Host header is the address at which they arrived, or one of
// Options.Hosts, so a page on the Internet cannot reach it through a name that it controls.
// With Options.Token it demands that token. A Handler behind your own login needs Hosts, and
// no Token. Only GET and HEAD are answered, pages that cost much work only if a page of the
// inspector or the address bar asks for them, and nothing runs in the browser that does not
// come with this package.
package inspect

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"path"
	"strings"
	"time"

	"github.com/driftdb/driftdb-go"
)

// Options say how a Handler is reached, and what it shows besides the backups themselves.
// The zero value is for a handler at the root of its own server, on this machine.
type Options struct {
	// Path is where the handler is mounted, such as "/admin/backups": requests arrive with it,
	// and links begin with it. Default: the root.
	Path string

	// Store is the store's URL, as the command line takes it: the pages show the commands
	// that do what they show. A user name and a password in it are left out. Default: the
	// commands say URL.
	Store string

	// Hosts are the names, without ports, under which the handler is reached in addition to
	// the address at which a request arrives, and localhost if that is this machine's own.
	// "*" is every name: then something else must check the Host header. Default: none.
	Hosts []string

	// Token is what a visitor must know: once in the parameter token or as a bearer token,
	// after that the browser has a cookie. At least 16 bytes. Default: everybody may look who
	// reaches the handler.
	Token string

	// Retention is the writer's Config.Retention: what is older will be deleted. Default 30
	// days; negative: nothing is deleted.
	Retention time.Duration

	// Verified returns up to which change a backup was last verified, and when; the zero time
	// if that is not known. Default: it is not known.
	Verified func(driftdb.BackupInfo) (sequence int64, at time.Time)

	// Timeout limits the work for one page. Default 30 s; negative is an error.
	Timeout time.Duration
}

// Format implements fmt.Formatter: no verb prints the token.
func (o Options) Format(f fmt.State, verb rune) {
	type plain Options
	if o.Token != "" {
		o.Token = "(secret)"
	}
	fmt.Fprintf(f, fmt.FormatString(f, verb), plain(o))
}

// LogValue implements slog.LogValuer, without the token.
func (o Options) LogValue() slog.Value { return slog.StringValue(fmt.Sprintf("%+v", o)) }

// Format implements fmt.Formatter. It prints only where the handler is mounted: what it
// holds are secrets, and things that change.
func (h *Handler) Format(f fmt.State, _ rune) { fmt.Fprintf(f, "inspector at %s/", h.o.Path) }

const (
	minToken         = 16
	defaultTimeout   = 30 * time.Second
	defaultRetention = 30 * 24 * time.Hour
)

// check fills in the defaults.
func (o Options) check() (Options, error) {
	if o.Path != "" && (!strings.HasPrefix(o.Path, "/") || path.Clean(o.Path) != o.Path || o.Path == "/") {
		return o, fmt.Errorf("inspect: Options.Path %q: write it as /admin/backups, with a slash before it and none after it", o.Path)
	}
	if o.Token != "" && len(o.Token) < minToken {
		return o, fmt.Errorf("inspect: Options.Token is too short; use at least %d bytes, best from a random generator", minToken)
	}
	if o.Timeout < 0 {
		return o, fmt.Errorf("inspect: Options.Timeout %s is negative", o.Timeout)
	}
	if o.Timeout == 0 {
		o.Timeout = defaultTimeout
	}
	if o.Retention == 0 {
		o.Retention = defaultRetention
	}
	o.Store = withoutUser(o.Store)
	return o, nil
}

// withoutUser returns a store's URL without the user names and passwords that do not belong
// there.
func withoutUser(store string) string {
	if store == "" {
		return ""
	}
	u, err := url.Parse(store)
	if err != nil {
		return ""
	}
	u.User = nil
	query := u.Query()
	if endpoint, err := url.Parse(query.Get("endpoint")); err == nil && endpoint.User != nil {
		endpoint.User = nil
		query.Set("endpoint", endpoint.String())
		u.RawQuery = query.Encode()
	}
	return u.String()
}

// Store returns a handler for all backups of the store that cfg describes. It ignores
// cfg.Name. It uses no network yet. An error is about o.
func Store(cfg driftdb.BackupConfig, o Options) (*Handler, error) {
	if cfg.S3 == nil && cfg.Store == nil {
		return nil, errors.New("inspect: there is no store; set S3 or Store in the configuration")
	}
	return newHandler(newStoreSource(cfg), o)
}

// Backup returns a handler for one backup. It uses no network yet. An error is about o.
func Backup(b *driftdb.Backup, o Options) (*Handler, error) {
	return newHandler(&oneSource{target: target{backup: b}}, o)
}

// DB returns a handler for the backup of an open database. Its log has what is not in the
// bucket yet, too, and a page shows the database's metrics. It uses no network yet. An error
// is about o.
func DB(db *driftdb.DB, o Options) (*Handler, error) {
	return newHandler(&oneSource{target: target{backup: db.Backup(), db: db}}, o)
}

// ServeHTTP implements http.Handler.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h.guarded.ServeHTTP(w, r)
}

// Close deletes the temporary files of the handler, once nothing reads them any more. After
// that, pages of the past are errors.
func (h *Handler) Close() error { return h.past.close() }

// pageContext bounds the work for a page.
func (h *Handler) pageContext(r *http.Request) (context.Context, context.CancelFunc) {
	return context.WithTimeoutCause(r.Context(), h.o.Timeout, errTooLong)
}

var errTooLong = errors.New("the page took too long; choose a smaller part of the history")
