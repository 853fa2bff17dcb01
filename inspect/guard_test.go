package inspect_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/inspect"
	"github.com/driftdb/driftdb-go/internal/systemtest"
	"github.com/driftdb/driftdb-go/objstore"
)

// small is a store with one backup of a few changes, called app.
func small(t testing.TB) driftdb.BackupConfig {
	t.Helper()
	cfg := systemtest.Config(t)
	db := systemtest.Open(t, cfg)
	systemtest.Some(t, db, "t", 5)
	systemtest.Check(t, db.Flush(t.Context()))
	return driftdb.BackupConfig{Store: cfg.Store}
}

// TestHosts: a request is answered only if it names the address at which it arrives, or a
// name that the handler is known under.
func TestHosts(t *testing.T) {
	cfg := small(t)
	for _, c := range []struct {
		hosts []string
		host  string
		ok    bool
	}{
		{nil, "127.0.0.1", true}, {nil, "127.0.0.1:9", true}, {nil, "localhost:7171", true}, {nil, "LOCALHOST", true}, {nil, "[::1]:80", true}, {nil, "127.0.0.2", true},
		{nil, "evil.example", false}, {nil, "evil.example:7171", false}, {nil, "127.0.0.1.evil.example", false}, {nil, "localhost.evil.example", false},
		{nil, "10.0.0.1", false}, {nil, "0.0.0.0", false}, {nil, "localhost.", false}, {nil, "[fe80::1%25lo]", false}, {nil, "2130706433", false},
		{[]string{"admin.example"}, "admin.example", true}, {[]string{"admin.example"}, "ADMIN.example:443", true}, {[]string{"admin.example"}, "x.admin.example", false},
		{[]string{"*"}, "anything.example", true},
	} {
		h, err := inspect.Store(cfg, inspect.Options{Hosts: c.hosts})
		s := serve(t, h, err)
		for _, path := range []string{"/", "/b/app/log", "/static/style.css", "/nothing"} {
			res, body := s.get(path, "Host", c.host)
			if refused := res.StatusCode == http.StatusMisdirectedRequest; refused == c.ok || refused && strings.Contains(body, "app") {
				t.Errorf("hosts %q, host %q, %s: %s", c.hosts, c.host, path, res.Status)
			}
		}
	}
}

// TestMethods: only GET and HEAD are answered, whoever asks.
func TestMethods(t *testing.T) {
	h, err := inspect.Store(small(t), inspect.Options{})
	s := serve(t, h, err)
	for _, method := range []string{"POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "PROPFIND", "get"} {
		for _, path := range []string{"/", "/b/app/log", "/b/app/tables", "/static/style.css"} {
			if res, _ := s.do(method, path); res.StatusCode != http.StatusMethodNotAllowed && res.StatusCode != http.StatusBadRequest {
				t.Errorf("%s %s: %s", method, path, res.Status)
			}
		}
	}
	res, body := s.do(http.MethodHead, "/b/app/log")
	if res.StatusCode != http.StatusOK || body != "" || res.ContentLength < 1000 {
		t.Errorf("HEAD: %s, %d bytes, of %d", res.Status, len(body), res.ContentLength)
	}
}

// TestCrossSite: what another site embeds, fetches or posts is refused; a link that a person
// follows is not, unless the page is much work.
func TestCrossSite(t *testing.T) {
	h, err := inspect.Store(small(t), inspect.Options{})
	s := serve(t, h, err)
	for _, c := range []struct {
		path    string
		headers []string
		status  int
	}{
		{"/b/app/log", []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "no-cors", "Sec-Fetch-Dest", "image"}, 403},
		{"/b/app/log", []string{"Sec-Fetch-Site", "same-site", "Sec-Fetch-Mode", "cors", "Sec-Fetch-Dest", "empty"}, 403},
		{"/b/app/log", []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "iframe"}, 403},
		{"/b/app/log", []string{"Origin", "https://evil.example"}, 403},
		{"/b/app/log", []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document"}, 200},
		{"/b/app/log", []string{"Sec-Fetch-Site", "same-origin", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document"}, 200},
		{"/b/app/log", []string{"Sec-Fetch-Site", "none"}, 200},
		{"/b/app/log", []string{"Origin", s.URL}, 200},
		{"/b/app/tables", []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document"}, 403},
		{"/b/app/diff?from=1", []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document"}, 403},
		{"/b/app/cell?table=t&row=1&name=v", []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document"}, 403},
		{"/b/app/tables", []string{"Sec-Fetch-Site", "same-origin"}, 200},
	} {
		if res, body := s.get(c.path, c.headers...); res.StatusCode != c.status {
			t.Errorf("%s %v: %s, want %d\n%s", c.path, c.headers, res.Status, c.status, text(body))
		}
	}
}

// TestTokens: without the token nothing is shown, whatever comes instead of it.
func TestTokens(t *testing.T) {
	const token = "0123456789abcdef-secret"
	h, err := inspect.Store(small(t), inspect.Options{Token: token})
	s := serve(t, h, err)
	res, _ := s.get("/b/app/log?table=t&token=" + token)
	cookies := res.Cookies()
	if res.StatusCode != http.StatusSeeOther || res.Header.Get("Location") != "/b/app/log?table=t" || len(cookies) != 1 {
		t.Fatalf("the token: %s %v", res.Status, res.Header)
	}
	c := cookies[0]
	if !c.HttpOnly || c.SameSite != http.SameSiteStrictMode || c.Path != "/" || strings.Contains(c.Value, "0123456789abcdef") || c.Secure {
		t.Errorf("the cookie %+v", c)
	}
	for _, good := range [][]string{{"Cookie", c.Name + "=" + c.Value}, {"Authorization", "Bearer " + token}} {
		if res, body := s.get("/b/app/log", good...); res.StatusCode != http.StatusOK || !strings.Contains(body, "Transaction") {
			t.Errorf("%v: %s", good, res.Status)
		}
	}
	for _, bad := range [][]string{
		nil, {"Cookie", c.Name + "="}, {"Cookie", c.Name + "=" + token}, {"Cookie", c.Name + "=" + c.Value[1:]}, {"Cookie", c.Name + "=" + strings.ToUpper(c.Value)},
		{"Authorization", "Bearer "}, {"Authorization", "Bearer " + token + "x"}, {"Authorization", "Basic " + token}, {"Authorization", token}, {"X-Token", token},
	} {
		for _, path := range []string{"/", "/b/app/log", "/b/app/value?change=1&side=sql", "/nothing", "/b/app/log?token=", "/b/app/log?token=x", "/b/app/log?token=x&token=" + token} {
			res, body := s.get(path, bad...)
			if res.StatusCode != http.StatusUnauthorized || strings.Contains(body, "Transaction") || strings.Contains(body, "app") {
				t.Errorf("%s %v: %s\n%s", path, bad, res.Status, text(body))
			}
		}
	}
	// The redirect leads nowhere else.
	for _, path := range []string{"//evil.example/", "/\\evil.example", "//evil.example/..//x"} {
		res, _ := s.get(path + "?token=" + token)
		to, err := url.Parse(res.Header.Get("Location"))
		if err != nil || to.Host != "" || strings.HasPrefix(res.Header.Get("Location"), "//") || strings.Contains(res.Header.Get("Location"), "\\") {
			t.Errorf("%s leads to %q", path, res.Header.Get("Location"))
		}
	}
	for _, short := range []string{"x", strings.Repeat("x", 15)} {
		if _, err := inspect.Store(driftdb.BackupConfig{Store: objstore.Mem()}, inspect.Options{Token: short}); err == nil {
			t.Errorf("a token of %d bytes", len(short))
		}
	}
}

// TestPaths: no path and no parameter leads out of the inspector, or to an error that is not
// a page.
func TestPaths(t *testing.T) {
	h, err := inspect.Store(small(t), inspect.Options{})
	s := serve(t, h, err)
	long := strings.Repeat("x", 20_000)
	for _, path := range []string{
		"/b/../../etc/passwd", "/b/%2e%2e%2f%2e%2e%2fetc%2fpasswd/", "/b/%2e%2e/log", "/b/./log", "/b//log", "/static/../inspect.go", "/static/%2e%2e%2finspect.go",
		"/b/app%00/log", "/b/app%2flog", "/b/" + long + "/", "/b/APP/", "/b/app/tx/0", "/b/app/tx/-1", "/b/app/tx/9223372036854775807", "/b/app/tx/99999999999999999999",
		"/b/app/log?to=-1", "/b/app/log?to=9223372036854775807&from=9223372036854775807", "/b/app/log?from=1&to=9223372036854775807", "/b/app/log?to=1e9",
		"/b/app/log?table=" + long, "/b/app/log?table=t&key={", "/b/app/log?table=t&key=%7B%22id%22:%7B%22$blob%22:1%7D%7D", "/b/app/log?key=1", "/b/app/log?op=x",
		"/b/app/log?since=yesterday", "/b/app/log?since=9999-12-31", "/b/app/log?until=0001-01-01", "/b/app/row?table=t", "/b/app/row?table=t&key=%7B%22nope%22:1%7D",
		"/b/app/table?table=sqlite_schema", "/b/app/table?table=nope", "/b/app/table?table=t&skip=9223372036854775807", "/b/app/table?table=t&column=9223372036854775807",
		"/b/app/table?table=t%22;DROP%20TABLE%20t;--", "/b/app/cell?table=t&row=1&name=nope", "/b/app/cell?table=t&row=9999&name=v", "/b/app/value?change=1&column=nope&side=after",
		"/b/app/tables?at=0", "/b/app/tables?at=9999999", "/b/app/tables?at=2001-01-01", "/b/app/diff?from=9999&to=1", "/b/app/diff?from=x", "/b/app/timeline?from=9223372036854775807&to=1",
		"/b/app/timeline?from=3&to=2", "/b/app/retention?days=0", "/b/app/retention?days=-5", "/b/app/cost?stored=NaN", "/b/app/cost?stored=1e400", "/?after=%00", "/?filter=" + long, "/?%zz",
	} {
		res, body := s.get(path)
		for res.StatusCode == http.StatusOK && res.Header.Get("Refresh") != "" {
			res, body = s.get(path)
		}
		if res.StatusCode >= 500 || res.StatusCode == http.StatusOK && strings.Contains(body, "root:") {
			t.Errorf("%.80s: %s\n%s", path, res.Status, text(body))
		}
		if res.StatusCode < 300 || res.StatusCode >= 400 {
			harmless(t, fmt.Sprintf("%.80s", path), res, body)
		}
		if !strings.HasPrefix(res.Header.Get("Location"), "/") && res.StatusCode/100 == 3 {
			t.Errorf("%.80s leads to %q", path, res.Header.Get("Location"))
		}
	}
}

// TestMount: below a path of another server, all links stay below it.
func TestMount(t *testing.T) {
	h, err := inspect.Store(small(t), inspect.Options{Path: "/admin/backups"})
	systemtest.Check(t, err)
	mux := http.NewServeMux()
	mux.Handle("/admin/backups/", h)
	server := httptest.NewServer(mux)
	defer server.Close()
	s := &site{server, t}
	for _, path := range []string{"", "b/app/", "b/app/log", "b/app/timeline", "b/app/tx/1", "b/app/nothing"} {
		_, body := s.get("/admin/backups/" + path)
		found := links.FindAllStringSubmatch(body, -1)
		for _, m := range found {
			if !strings.HasPrefix(m[1], "/admin/backups/") && m[1] != "#main" {
				t.Errorf("%s links to %s", path, m[1])
			}
		}
		if len(found) == 0 {
			t.Errorf("%s has no links", path)
		}
	}
	for _, bad := range []string{"admin", "/admin/", "/", "/a/../b", "//a"} {
		if _, err := inspect.Store(driftdb.BackupConfig{Store: objstore.Mem()}, inspect.Options{Path: bad}); err == nil {
			t.Errorf("the path %q", bad)
		}
	}
}

// TestServe: a listener that others can reach is refused without a token; slow clients and
// many connections hold up nobody; the end of ctx ends it.
func TestServe(t *testing.T) {
	cfg := small(t)
	h, err := inspect.Store(cfg, inspect.Options{})
	systemtest.Check(t, err)
	everywhere, err := net.Listen("tcp", "0.0.0.0:0")
	systemtest.Check(t, err)
	if err := h.Serve(t.Context(), everywhere); err == nil || !strings.Contains(err.Error(), "token") {
		t.Errorf("without a token: %v", err)
	}
	if _, err := everywhere.Accept(); err == nil {
		t.Error("the listener is still open")
	}
	h, err = inspect.Store(cfg, inspect.Options{})
	systemtest.Check(t, err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	systemtest.Check(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	done := systemtest.InGoroutine(func() error { return h.Serve(ctx, l) })
	var slow []net.Conn
	for i := range 300 { // more than may be open
		c, err := net.Dial("tcp", l.Addr().String())
		systemtest.Check(t, err)
		fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-%d: ", i)
		slow = append(slow, c)
	}
	defer func() {
		for _, c := range slow {
			c.Close()
		}
	}()
	systemtest.Eventually(t, "the slow ones are sent away, and there is room", func() bool {
		client := http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
		res, err := client.Get("http://" + l.Addr().String() + "/b/app/log")
		if err != nil {
			return false
		}
		defer res.Body.Close()
		return res.StatusCode == http.StatusOK
	})
	systemtest.Check(t, slow[0].SetReadDeadline(time.Now().Add(20*time.Second)))
	if answer, err := io.ReadAll(bufio.NewReader(slow[0])); err != nil || strings.Contains(string(answer), " 200 ") {
		t.Errorf("a slow client: %q, %v", answer, err)
	}
	cancel()
	systemtest.Within(t, "Serve ends", func() { systemtest.Check(t, <-done) })
}

// TestLargeRequest: headers and addresses have a bound.
func TestLargeRequest(t *testing.T) {
	h, err := inspect.Store(small(t), inspect.Options{})
	systemtest.Check(t, err)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	systemtest.Check(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	done := systemtest.InGoroutine(func() error { return h.Serve(ctx, l) })
	res, err := http.Get("http://" + l.Addr().String() + "/?filter=" + strings.Repeat("x", 200_000))
	systemtest.Check(t, err)
	res.Body.Close()
	if res.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("an address of 200 kB: %s", res.Status)
	}
	cancel()
	systemtest.Check(t, <-done)
}

// TestTokenPrinted: no verb prints the token, nor does a logger.
func TestTokenPrinted(t *testing.T) {
	const token = "a-token-that-nobody-prints"
	o := inspect.Options{Token: token, Path: "/x"}
	h, err := inspect.Store(driftdb.BackupConfig{Store: objstore.Mem()}, o)
	systemtest.Check(t, err)
	defer h.Close()
	var logged strings.Builder
	slog.New(slog.NewJSONHandler(&logged, nil)).Info("x", "options", o, "handler", h)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d", "%x"} {
		logged.WriteString(fmt.Sprintf(verb, o) + fmt.Sprintf(verb, &o) + fmt.Sprintf(verb, h))
	}
	if strings.Contains(logged.String(), token) || strings.Contains(logged.String(), fmt.Sprintf("%x", token)) {
		t.Error(logged.String())
	}
}
