package inspect_test

import (
	"fmt"
	"html"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"
	"unicode"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/inspect"
	"github.com/driftdb/driftdb-go/internal/systemtest"
)

func TestMain(m *testing.M) { systemtest.Main(m) }

var (
	galleryOnce sync.Once
	galleryOf   driftdb.BackupConfig
)

// gallery is a store with one of everything. All tests look at the same one.
func gallery(t *testing.T) driftdb.BackupConfig {
	t.Helper()
	galleryOnce.Do(func() { galleryOf = systemtest.Gallery(t) })
	return galleryOf
}

// site is an inspector that is served, and a browser for it.
type site struct {
	*httptest.Server
	t testing.TB
}

// serve serves a handler.
func serve(t testing.TB, h *inspect.Handler, err error) *site {
	t.Helper()
	systemtest.Check(t, err)
	server := httptest.NewServer(h)
	t.Cleanup(func() {
		server.Close()
		systemtest.Check(t, h.Close())
	})
	return &site{server, t}
}

// get fetches a page, with headers in pairs.
func (s *site) get(path string, headers ...string) (*http.Response, string) {
	s.t.Helper()
	return s.do(http.MethodGet, path, headers...)
}

func (s *site) do(method, path string, headers ...string) (*http.Response, string) {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), method, s.URL+path, nil)
	systemtest.Check(s.t, err)
	for i := 0; i+1 < len(headers); i += 2 {
		if headers[i] == "Host" {
			req.Host = headers[i+1]
			continue
		}
		req.Header.Set(headers[i], headers[i+1])
	}
	client := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	res, err := client.Do(req)
	systemtest.Check(s.t, err)
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	systemtest.Check(s.t, err)
	return res, string(body)
}

// page fetches a page that must be there. It waits for a state that is being restored.
func (s *site) page(path string) string {
	s.t.Helper()
	for {
		res, body := s.get(path)
		if res.StatusCode != http.StatusOK {
			s.t.Fatalf("%s: %s\n%s", path, res.Status, text(body))
		}
		if res.Header.Get("Refresh") == "" {
			return body
		}
	}
}

var tags = regexp.MustCompile(`<[^>]*>`)

// text is what a page shows.
func text(page string) string {
	return strings.Join(strings.Fields(html.UnescapeString(tags.ReplaceAllString(page, " "))), " ")
}

// has fails unless a page shows all of these.
func has(t testing.TB, path, page string, wanted ...string) {
	t.Helper()
	shown := strings.ReplaceAll(text(page), "\u202f", " ")
	for _, w := range wanted {
		if !strings.Contains(shown, w) {
			t.Errorf("%s does not show %q:\n%s", path, w, shown)
		}
	}
}

var links = regexp.MustCompile(`(?:href|data-href)="([^"]*)"`)

// TestEveryPage follows every link of an inspector over a store with one of everything. No
// page fails, runs what a row contains, shows a character that nobody sees, or has a key.
func TestEveryPage(t *testing.T) {
	cfg := gallery(t)
	h, err := inspect.Store(cfg, inspect.Options{Store: "s3://me:hunter2-secret@bucket/p?endpoint=http://u:hunter2-secret@localhost:1"})
	s := serve(t, h, err)
	odd := url.Values{"table": {systemtest.HostileTable}}.Encode()
	queue := []string{"/", "/b/shop/log?" + odd, "/b/shop/table?" + odd, "/b/shop/diff?from=5&to=60"}
	seen := map[string]bool{}
	most := systemtest.Setting(t, "DRIFTDB_PAGES", 6) // of each kind
	if testing.Short() {
		most = 3
	}
	kinds := map[string]int{}
	for len(queue) > 0 {
		path := queue[0]
		queue = queue[1:]
		kind := regexp.MustCompile(`^/b/[^/]*|[0-9?].*$`).ReplaceAllString(path, "")
		if kinds[kind]++; kinds[kind] > most {
			continue
		}
		res, body := s.get(path)
		for res.Header.Get("Refresh") != "" {
			res, body = s.get(path)
		}
		if res.StatusCode != http.StatusOK && res.StatusCode != http.StatusSeeOther && !(res.StatusCode == http.StatusNotFound && strings.Contains(path, "/tx/")) {
			t.Errorf("%s: %s\n%s", path, res.Status, text(body))
		}
		harmless(t, path, res, body)
		for _, m := range links.FindAllStringSubmatch(body, -1) {
			to := html.UnescapeString(m[1])
			if strings.HasPrefix(to, "/") && !seen[to] {
				seen[to] = true
				queue = append(queue, to)
			}
		}
	}
	for _, kind := range []string{"/", "/timeline", "/log", "/tx/", "/row", "/tables", "/table", "/value", "/cell", "/retention", "/cost"} {
		if kinds[kind] == 0 {
			t.Errorf("no link leads to %s: %v", kind, kinds)
		}
	}
}

// harmless fails if a page has what it must not have.
func harmless(t testing.TB, path string, res *http.Response, body string) {
	t.Helper()
	if strings.Contains(body, "hunter2") || strings.Contains(body, strings.Repeat("7e", 8)) {
		t.Errorf("%s shows a secret", path)
	}
	policy := res.Header.Get("Content-Security-Policy")
	if !strings.Contains(policy, "default-src 'none'") || strings.Contains(policy, "unsafe") || !strings.Contains(policy, "frame-ancestors 'none'") ||
		res.Header.Get("X-Content-Type-Options") != "nosniff" || res.Header.Get("Referrer-Policy") != "no-referrer" {
		t.Errorf("%s: headers %v", path, res.Header)
	}
	if len(body) > 4<<20 {
		t.Errorf("%s has %d bytes", path, len(body))
	}
	if !strings.HasPrefix(res.Header.Get("Content-Type"), "text/html") {
		return
	}
	for _, bad := range []string{"<script>document", "<img src=x", "<svg onload", "<b>\"odd", "<i>col", " style=", " onerror=\""} {
		if at := strings.Index(body, bad); at >= 0 {
			t.Errorf("%s has %q: …%s…", path, bad, body[max(0, at-100):min(len(body), at+100)])
		}
	}
	body = regexp.MustCompile(` value="[^"]*"`).ReplaceAllString(body, "") // of a field, which isolates it, and sends it as it is
	for i, r := range body {
		if r != '\n' && !unicode.IsPrint(r) && r != '\u202f' {
			t.Errorf("%s shows the character %U: …%q…", path, r, body[max(0, i-60):min(len(body), i+60)])
			return
		}
	}
}

// TestPages: each page shows what there is.
func TestPages(t *testing.T) {
	cfg := gallery(t)
	h, err := inspect.Store(cfg, inspect.Options{Store: "file:///srv/store"})
	s := serve(t, h, err)
	b, err := driftdb.OpenBackup(t.Context(), driftdb.BackupConfig{Name: "shop", Store: cfg.Store, EncryptionKeys: cfg.EncryptionKeys})
	systemtest.Check(t, err)
	info, err := b.Info(t.Context())
	systemtest.Check(t, err)
	last := fmt.Sprint(info.Sequence)
	barrier := systemtest.Must(first(t, b, driftdb.OperationBarrier))
	for path, wanted := range map[string][]string{
		"/":                                          {"shop", "notes", "shop-trial", "fork of shop at", "1 branch", "driftdb status --store file:///srv/store"},
		"/?filter=NOTE":                              {"notes"},
		"/b/shop/":                                   {"till-1", "till-2", "take-over", "Branches", "Forks", "shop-trial", "driftdb restore --store file:///srv/store --name shop --branch " + info.Branches[0].ID + " --out FILE"},
		"/b/shop-trial/":                             {"Fork of", "shop"},
		"/b/shop/timeline":                           {"Node till-2 took over", "Branch till-1.e", "The fork shop-trial begins", "Barrier: ", "Snapshot after change"},
		"/b/shop/log":                                {"Transaction", "delete", "orders", "id=4", "update", "status sent → paid total 3.0 → 4.0"},
		"/b/shop/tx/" + last:                         {"Transaction " + last, "delete", "driftdb undo FILE --store file:///srv/store --name shop --tx " + last + " --dry-run"},
		"/b/shop/tables?at=7":                        {"Tables after change 7", "orders", "events", "unpaid", "view"},
		"/b/shop/retention":                          {"Nothing: everything in the bucket is still needed"},
		"/b/shop/retention?days=1":                   {"Nothing"},
		"/b/shop/cost":                               {"Stored, a month", "One restore of the latest state"},
		"/b/shop/diff?from=7&to=" + last:             {"orders", "events", "960", "both states were restored and compared"},
		"/b/shop/diff":                               {"Each point is the number of a change"},
		"/b/shop/log?op=barrier":                     {"barrier", "1 match"},
		"/b/shop/log?table=orders&key=2":             {"id=2", "driftdb history --store file:///srv/store --name shop --table orders --key 2"},
		"/b/shop/row?table=orders&key=2":             {"insert", "update", "Bob"},
		"/b/shop/table?table=orders&at=7":            {"Ada", "Bob", "99.9", "INTEGER", "key"},
		"/b/shop/table?table=unpaid&at=7":            {"Bob", "Cleo"},
		"/b/shop/table?table=events":                 {"event 1", "960 rows"},
		"/b/shop/tx/" + fmt.Sprint(barrier.Sequence): {"barrier", barrier.Reason},
	} {
		has(t, path, s.page(path), wanted...)
	}
	if strings.Contains(text(s.page("/b/shop/table?table=unpaid&at=7")), "Ada") {
		t.Error("the view of the past is not of the past")
	}
}

func first(t *testing.T, b *driftdb.Backup, op driftdb.Operation) (driftdb.Change, error) {
	for c, err := range b.Changes(t.Context(), driftdb.ChangeQuery{}) {
		if err != nil || c.Operation == op {
			return c, err
		}
	}
	return driftdb.Change{}, fmt.Errorf("no %s", op)
}

// TestPaging: from page to page, the log shows every change once, with and without filters,
// and back again.
func TestPaging(t *testing.T) {
	cfg := gallery(t)
	h, err := inspect.Store(cfg, inspect.Options{})
	h.SetWindow(97)
	s := serve(t, h, err)
	b, err := driftdb.OpenBackup(t.Context(), driftdb.BackupConfig{Name: "shop", Store: cfg.Store, EncryptionKeys: cfg.EncryptionKeys})
	systemtest.Check(t, err)
	row := regexp.MustCompile(`<tr><td class="num">([^<]*)</td><td><span class="op`)
	older := regexp.MustCompile(`<a href="([^"]*)" data-key="n">`)
	newer := regexp.MustCompile(`<a href="([^"]*)" data-key="p">`)
	for _, q := range []driftdb.ChangeQuery{{}, {Table: "events"}, {Table: "orders"}, {Table: "orders", Key: map[string]any{"id": int64(1)}}} {
		var want []string
		for c, err := range b.Changes(t.Context(), driftdb.ChangeQuery{Table: q.Table, Key: q.Key, Reverse: true}) {
			systemtest.Check(t, err)
			want = append(want, fmt.Sprint(c.Sequence))
		}
		query := url.Values{"table": {q.Table}}
		if q.Key != nil {
			query.Set("key", "1")
		}
		read := func(path string, on *regexp.Regexp) (got [][]string, last string) {
			for path != "" {
				last = path
				page := s.page(path)
				var here []string
				for _, m := range row.FindAllStringSubmatch(page, -1) {
					here = append(here, strings.ReplaceAll(m[1], "\u202f", ""))
				}
				got = append(got, here)
				path = ""
				if m := on.FindStringSubmatch(page); m != nil {
					path = html.UnescapeString(m[1])
				}
				if len(got) > 50 {
					t.Fatalf("no end: %s", last)
				}
			}
			return got, last
		}
		down, last := read("/b/shop/log?"+query.Encode(), older)
		if got := strings.Join(concat(down), " "); got != strings.Join(want, " ") {
			t.Errorf("%v, going down: %s\nwant %s", q, got, want)
		}
		up, _ := read(last, newer)
		for i, j := 0, len(up)-1; i < j; i, j = i+1, j-1 {
			up[i], up[j] = up[j], up[i]
		}
		if got := strings.Join(concat(up), " "); got != strings.Join(want, " ") {
			t.Errorf("%v, going up: %s\nwant %s", q, got, want)
		}
	}
}

func concat(pages [][]string) (all []string) {
	for _, p := range pages {
		all = append(all, p...)
	}
	return all
}

// TestValues: a value that a page shortens is behind a link, to the last byte; text is no
// page, and bytes are a file.
func TestValues(t *testing.T) {
	cfg := gallery(t)
	h, err := inspect.Store(cfg, inspect.Options{})
	s := serve(t, h, err)
	for _, path := range []string{
		"/b/shop/log?" + url.Values{"table": {systemtest.HostileTable}}.Encode(),
		"/b/shop/table?" + url.Values{"table": {systemtest.HostileTable}}.Encode(),
	} {
		page := s.page(path)
		sizes := map[int]bool{}
		for _, m := range regexp.MustCompile(`class="more" href="([^"]*)"`).FindAllStringSubmatch(page, -1) {
			res, body := s.get(html.UnescapeString(m[1]))
			if res.StatusCode != http.StatusOK || !strings.Contains(res.Header.Get("Content-Security-Policy"), "sandbox") || strings.HasPrefix(res.Header.Get("Content-Type"), "text/html") {
				t.Errorf("%s: %s %v", m[1], res.Status, res.Header)
			}
			sizes[len(body)] = true
			if len(body) > 1000 && body != strings.Repeat("<p>long ", 1<<17) && body != string(make([]byte, 1<<20)) {
				t.Errorf("%s is another value: %q…", m[1], body[:min(len(body), 50)])
			}
		}
		if !sizes[1<<20] {
			t.Errorf("%s links to values of %v bytes", path, sizes)
		}
	}
}
