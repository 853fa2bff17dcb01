package inspect

import (
	"bytes"
	"context"
	"crypto/sha256"
	"embed"
	"errors"
	"fmt"
	"html/template"
	"io/fs"
	"net/http"
	"path"
	"strings"
)

// Handler shows backups. [Store], [Backup] and [DB] make one; call Close when it is no
// longer needed.
type Handler struct {
	o       Options // with the defaults filled in
	source  source
	past    *past
	window  int64 // changes that are read at a time to find those that match
	guarded http.Handler
	pages   map[string]*template.Template
	files   map[string]staticFile // by their names with a hash of their contents
	busy    chan struct{}         // a token for each page that is being made
}

// maxBusy bounds how many pages are made at the same time, and with it the memory.
const maxBusy = 8

// maxPage is a net below the limits that each page has of its own.
const maxPage = 16 << 20 // bytes

//go:embed templates/*.html
var templates embed.FS

//go:embed static/*
var static embed.FS

// staticFile is a file that pages link to.
type staticFile struct {
	content []byte
	kind    string
	link    string
}

func newHandler(s source, o Options) (*Handler, error) {
	o, err := o.check()
	if err != nil {
		return nil, err
	}
	h := &Handler{o: o, source: s, past: newPast(), window: searchWindow, busy: make(chan struct{}, maxBusy)}
	if err := h.loadStatic(); err != nil {
		return nil, err
	}
	if err := h.loadPages(); err != nil {
		return nil, err
	}
	h.guarded = &guard{h, h.routes()}
	return h, nil
}

// routes are the pages. {name} is a backup.
func (h *Handler) routes() http.Handler {
	mux := http.NewServeMux()
	add := func(pattern string, build func(*visit) (*view, error)) {
		mux.Handle("GET "+h.o.Path+pattern, h.page(build))
	}
	add("/{$}", h.storePage)
	add("/b/{name}/{$}", h.backupPage)
	add("/b/{name}/timeline", h.timelinePage)
	add("/b/{name}/log", h.logPage)
	add("/b/{name}/tx/{number}", h.txPage)
	add("/b/{name}/row", h.rowPage)
	add("/b/{name}/tables", costly(h.tablesPage))
	add("/b/{name}/table", costly(h.tablePage))
	add("/b/{name}/diff", costly(h.diffPage))
	add("/b/{name}/retention", h.retentionPage)
	add("/b/{name}/cost", h.costPage)
	mux.Handle("GET "+h.o.Path+"/b/{name}/value", h.raw(h.changeValue))
	mux.Handle("GET "+h.o.Path+"/b/{name}/cell", h.raw(h.cellValue))
	mux.HandleFunc("GET "+h.o.Path+"/static/{file}", h.serveStatic)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		h.refuse(w, r, http.StatusNotFound, "There is no such page", "The inspector has no page with this address.")
	})
	return mux
}

// view is a page that is ready to be shown.
type view struct {
	template string
	Title    string
	Tab      string    // of the backup's pages
	Commands []command // that do what the page shows
	Refresh  int       // seconds after which the page is asked for again; 0: never
	Body     any

	moved string // another address to go to instead

	// Of the frame; page fills them in.
	Site, Name, Style, Script, Icon, Home string
	Tabs                                  []tab
	Single                                bool
}

// visit is a request for a page.
type visit struct {
	*http.Request
	h    *Handler
	ctx  context.Context
	name string // of the backup; "" for pages of the whole store
	target
}

// page makes a handler of a page.
func (h *Handler) page(build func(*visit) (*view, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := h.pageContext(r)
		defer cancel()
		v, err := h.visit(ctx, r)
		var page *view
		if err == nil {
			defer func() { <-h.busy }()
			page, err = build(v)
		}
		if err != nil {
			h.fail(w, r, reason(ctx, err))
			return
		}
		if page.moved != "" {
			http.Redirect(w, r, page.moved, http.StatusSeeOther)
			return
		}
		page.Name = v.name
		h.show(w, r, http.StatusOK, page)
	})
}

// visit prepares a page: it waits until there is room for one more, and opens the backup.
func (h *Handler) visit(ctx context.Context, r *http.Request) (*visit, error) {
	select {
	case h.busy <- struct{}{}:
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	v := &visit{Request: r, h: h, ctx: ctx, name: r.PathValue("name")}
	if v.name == "" {
		return v, nil
	}
	var err error
	if v.target, err = h.source.open(ctx, v.name); err != nil {
		<-h.busy
		return nil, err
	}
	return v, nil
}

// reason is err, or why the time for the page was over.
func reason(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); errors.Is(cause, errTooLong) && errors.Is(err, context.DeadlineExceeded) {
		return cause
	}
	return err
}

// raw makes a handler of a value, which is not a page.
func (h *Handler) raw(find func(*visit) (any, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := h.pageContext(r)
		defer cancel()
		v, err := h.visit(ctx, r)
		var value any
		if err == nil {
			defer func() { <-h.busy }()
			value, err = find(v)
		}
		if err != nil {
			h.fail(w, r, reason(ctx, err))
			return
		}
		serveValue(w, value)
	})
}

// show renders a page into memory first, so that an error can still be a page of its own.
func (h *Handler) show(w http.ResponseWriter, r *http.Request, status int, v *view) {
	v.Site, v.Home, v.Single = h.o.Store, h.o.Path+"/", h.source.single()
	v.Style, v.Script, v.Icon = h.files["style.css"].link, h.files["inspect.js"].link, h.files["icon.svg"].link
	v.Tabs = h.tabs(v)
	out := &bounded{limit: maxPage}
	if err := h.pages[v.template].ExecuteTemplate(out, "page", v); err != nil {
		http.Error(w, "The page cannot be shown: "+quoted(err.Error()), http.StatusInternalServerError)
		return
	}
	if v.Refresh > 0 {
		w.Header().Set("Refresh", fmt.Sprint(v.Refresh))
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Content-Length", fmt.Sprint(out.Len()))
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = out.WriteTo(w) // an error is the visitor's, who has gone
	}
}

// bounded is a buffer that does not grow without limit.
type bounded struct {
	bytes.Buffer
	limit int
}

func (b *bounded) Write(p []byte) (int, error) {
	if b.Len()+len(p) > b.limit {
		return 0, fmt.Errorf("it would be larger than %s", size(int64(b.limit)))
	}
	return b.Buffer.Write(p)
}

// tab is a link to one of a backup's pages.
type tab struct {
	Title, Link string
	Here        bool
}

func (h *Handler) tabs(v *view) (tabs []tab) {
	if v.Name == "" {
		return nil
	}
	for _, t := range [][2]string{
		{"Overview", ""}, {"Timeline", "timeline"}, {"Log", "log"}, {"Tables", "tables"}, {"Diff", "diff"}, {"Retention", "retention"}, {"Cost", "cost"},
	} {
		tabs = append(tabs, tab{t[0], h.link(v.Name, t[1]), v.Tab == t[0]})
	}
	return tabs
}

func (h *Handler) loadPages() error {
	h.pages = map[string]*template.Template{}
	frame, err := template.New("").Funcs(functions).ParseFS(templates, "templates/frame.html", "templates/parts.html")
	if err != nil {
		return fmt.Errorf("inspect: %w", err)
	}
	names, err := fs.Glob(templates, "templates/*.html")
	if err != nil {
		return fmt.Errorf("inspect: %w", err)
	}
	for _, file := range names {
		page, err := template.Must(frame.Clone()).ParseFS(templates, file)
		if err != nil {
			return fmt.Errorf("inspect: %w", err)
		}
		h.pages[strings.TrimSuffix(path.Base(file), ".html")] = page
	}
	return nil
}

func (h *Handler) loadStatic() error {
	h.files = map[string]staticFile{}
	kinds := map[string]string{".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".svg": "image/svg+xml"}
	entries, err := static.ReadDir("static")
	if err != nil {
		return fmt.Errorf("inspect: %w", err)
	}
	for _, e := range entries {
		content, err := static.ReadFile("static/" + e.Name())
		if err != nil {
			return fmt.Errorf("inspect: %w", err)
		}
		sum := sha256.Sum256(content)
		hashed := fmt.Sprintf("%x-%s", sum[:6], e.Name())
		f := staticFile{content, kinds[path.Ext(e.Name())], h.o.Path + "/static/" + hashed}
		h.files[e.Name()], h.files[hashed] = f, f
	}
	return nil
}

// serveStatic serves a file that never changes under its name.
func (h *Handler) serveStatic(w http.ResponseWriter, r *http.Request) {
	f, ok := h.files[r.PathValue("file")]
	if !ok {
		h.refuse(w, r, http.StatusNotFound, "There is no such file", "The inspector has no file with this address.")
		return
	}
	w.Header().Set("Content-Type", f.kind)
	w.Header().Set("Cache-Control", "private, max-age=31536000, immutable")
	w.Header().Set("Content-Length", fmt.Sprint(len(f.content)))
	if r.Method != http.MethodHead {
		_, _ = w.Write(f.content) // an error is the visitor's, who has gone
	}
}
