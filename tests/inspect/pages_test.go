package inspect_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/inspect"
	"github.com/driftdb/driftdb-go/internal/systemtest"
)

// TestPages: each page, in light and dark and on a phone, is quiet, runs nothing of what a
// row contains, is no wider than the window, and can be used by everybody.
func TestPages(t *testing.T) {
	b := start(t)
	h, err := inspect.Store(gallery(t), inspect.Options{Store: "file:///srv/backups"})
	base := serve(t, h, err)
	odd := url.Values{"table": {systemtest.HostileTable}}.Encode()
	row := url.Values{"table": {systemtest.HostileTable}, "key": {`{"k":"<script>document.title='hacked'</script>"}`}}.Encode()
	for _, path := range []string{
		"/", "/b/shop/", "/b/shop-trial/", "/b/shop/timeline", "/b/shop/timeline?from=20&to=60", "/b/shop/log", "/b/shop/log?" + odd, "/b/shop/tx/10", "/b/shop/row?" + row,
		"/b/shop/tables", "/b/shop/table?" + odd, "/b/shop/table?table=events", "/b/shop/diff?from=5&to=60", "/b/shop/diff", "/b/shop/retention", "/b/shop/cost",
	} {
		b.run(chromedp.EmulateViewport(1280, 800))
		b.open(base + path)
		b.quiet(path)
		if title := eval[string](b, "document.title"); title == "hacked" || !strings.HasSuffix(title, "· DriftDB") {
			t.Errorf("%s: the title is %q", path, title)
		}
		for _, scheme := range []string{"light", "dark"} {
			b.colours(scheme)
			b.usable(path + ", " + scheme)
		}
		for width := int64(320); width <= 480; width += 8 { // what is hidden may be anywhere, depending on the font
			b.run(chromedp.EmulateViewport(width, 800))
			if wide := eval[int64](b, "document.documentElement.scrollWidth"); wide > width {
				t.Errorf("%s: on a phone of %d the page is %d wide", path, width, wide)
			}
		}
		b.quiet(path)
	}
	for _, path := range []string{"/b/nobody/", "/b/shop/tx/999999", "/b/shop/log?to=x", "/nothing"} {
		b.open(base + path)
		b.usable(path)
	}
}

// TestKeyboard: the pages can be used without a mouse.
func TestKeyboard(t *testing.T) {
	b := start(t)
	h, err := inspect.Store(gallery(t), inspect.Options{})
	base := serve(t, h, err)
	b.open(base + "/b/shop/log")
	b.run(chromedp.KeyEvent("j"), chromedp.KeyEvent("j"))
	if line := eval[string](b, "document.activeElement.innerText"); !strings.HasPrefix(line, "Transaction ") {
		t.Errorf("after j and j, the focus is on %q", line)
	}
	first := eval[string](b, "document.querySelector('tr.tx a').innerText")
	b.run(chromedp.KeyEvent("n"))
	b.until("location.search.includes('to=')")
	if second := eval[string](b, "document.querySelector('tr.tx a').innerText"); second == first {
		t.Errorf("n leads to the same page, %s", second)
	}
	b.run(chromedp.KeyEvent("p"))
	b.until("location.search.includes('from=')")
	if again := eval[string](b, "document.querySelector('tr.tx a').innerText"); again != first {
		t.Errorf("back by p: %s, not %s", again, first)
	}
	// One event with its text, as a keyboard sends it: KeyEvent would type a character that the page has refused.
	for _, kind := range []input.DispatchKeyEventType{input.DispatchKeyEventTypeKeyDown, input.DispatchKeyEventTypeKeyUp} {
		systemtest.Must(chromedp.Call(b.ctx, input.DispatchKeyEvent, input.DispatchKeyEventParams{Type: kind, Key: "/", Text: "/"}))
	}
	b.run(chromedp.KeyEvent("orders"), chromedp.KeyEvent(kb.Enter))
	b.until("location.search.includes('table=orders')")
	if tables := eval[string](b, "[...new Set([...document.querySelectorAll('td.subject > a:first-child')].map(a => a.innerText))].join()"); tables != "orders" {
		t.Errorf("the log of orders has %s", tables)
	}
	b.quiet("the log")
}

// TestTimelineMouse: a stretch of the timeline that is dragged over is zoomed to, and a
// batch that is clicked leads to its changes.
func TestTimelineMouse(t *testing.T) {
	b := start(t)
	h, err := inspect.Store(gallery(t), inspect.Options{})
	base := serve(t, h, err)
	b.open(base + "/b/shop/timeline")
	box := eval[[]float64](b, "(r => [r.x, r.y, r.width, r.height])(document.querySelector('svg.timeline').getBoundingClientRect())")
	x := func(part float64) float64 { return box[0] + box[2]*part }
	y := box[1] + box[3]/2
	b.run(
		chromedp.MouseEvent(chromedp.MousePressed, x(0.25), y, chromedp.ButtonLeft, chromedp.ClickCount(1)),
		chromedp.MouseEvent(chromedp.MouseMoved, x(0.4), y, chromedp.ButtonLeft),
		chromedp.MouseEvent(chromedp.MouseMoved, x(0.5), y, chromedp.ButtonLeft),
		chromedp.MouseEvent(chromedp.MouseReleased, x(0.5), y, chromedp.ButtonLeft, chromedp.ClickCount(1)),
	)
	b.until("location.search.includes('from=')")
	span := eval[[]int64](b, "['from', 'to'].map(n => Number(document.querySelector('svg.timeline').dataset[n]))")
	if length := span[1] - span[0]; length < 150 || length > 350 {
		t.Errorf("a quarter of 1,018 changes is %v", span)
	}
	where := eval[[]float64](b, "(r => [r.x + r.width / 2, r.y + r.height / 2])(document.querySelector('rect.batch').getBoundingClientRect())")
	b.run(chromedp.MouseClickXY(where[0], where[1]))
	b.until("location.pathname.endsWith('/log')")
	b.quiet("the timeline")
}

// TestToken: whoever has no token sees a form and nothing else, and one who types it gets in
// and stays in, without the token in the address.
func TestToken(t *testing.T) {
	b := start(t)
	const token = "correct horse battery staple"
	h, err := inspect.Store(gallery(t), inspect.Options{Token: token})
	base := serve(t, h, err)
	b.open(base + "/b/shop/log")
	b.usable("the form")
	if shown := eval[string](b, "document.body.innerText"); !strings.Contains(shown, "A token, please") || strings.Contains(shown, "orders") {
		t.Fatalf("without the token: %s", shown)
	}
	b.run(chromedp.SendKeys(chromedp.CSS("#token"), "wrong"+kb.Enter))
	b.until("document.body.innerText.includes('This is not the token')")
	b.run(chromedp.SendKeys(chromedp.CSS("#token"), token+kb.Enter))
	b.until("document.body.innerText.includes('shop-trial')")
	if address := eval[string](b, "location.href"); strings.Contains(address, "token") {
		t.Errorf("the address is %s", address)
	}
	if cookie := eval[string](b, "document.cookie"); cookie != "" {
		t.Errorf("a script sees the cookie %s", cookie)
	}
	b.open(base + "/b/shop/log")
	if shown := eval[string](b, "document.body.innerText"); !strings.Contains(shown, "orders") {
		t.Errorf("with the cookie: %s", shown)
	}
}

// TestOtherSite: a page of another site cannot frame the inspector, fetch from it, post to
// it, or make it restore something; its link can be followed by hand.
func TestOtherSite(t *testing.T) {
	b := start(t)
	h, err := inspect.Store(gallery(t), inspect.Options{})
	base := serve(t, h, err)
	var host string
	evil := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/" {
			http.NotFound(w, r)
			return
		}
		fmt.Fprintf(w, `<!doctype html><title>evil</title><iframe id=f src="%[1]s/b/shop/"></iframe><img id=i src="%[1]s/b/shop/tables">
			<script src="%[1]s/b/shop/log"></script><a id=a href="%[1]s/b/shop/tables">look</a><form id=p method=post action="%[1]s/b/shop/log"></form>`, host)
	}))
	defer evil.Close()
	host = base
	b.open(strings.Replace(evil.URL, "127.0.0.1", "localhost", 1) + "/")
	if got := eval[string](b, fmt.Sprintf("fetch(%q).then(r => 'read ' + r.status, e => 'refused')", base+"/b/shop/log")); got != "refused" {
		t.Errorf("a script of another site: %s", got)
	}
	if got := eval[string](b, fmt.Sprintf("fetch(%q, {mode: 'no-cors'}).then(r => 'opaque', e => 'refused')", base+"/b/shop/log")); got == "" {
		t.Error("nothing")
	}
	if wide := eval[int64](b, "document.getElementById('i').naturalWidth"); wide != 0 {
		t.Error("a page is a picture")
	}
	if name := eval[string](b, "(() => { try { return document.getElementById('f').contentDocument?.title ?? 'refused' } catch { return 'refused' } })()"); name != "refused" && name != "" {
		t.Errorf("the frame shows %q", name)
	}
	b.run(chromedp.Click(chromedp.CSS("#a")))
	b.until("document.title.includes('costs work')")
	b.run(chromedp.Click(chromedp.CSS(".button")))
	b.until("document.title.includes('Tables')")
	b.open(strings.Replace(evil.URL, "127.0.0.1", "localhost", 1) + "/")
	b.run(chromedp.Evaluate[chromedp.Void]("document.getElementById('p').submit()"))
	b.until("document.title.includes('only reads')")
}

// TestScreenshots draws the pictures of the documentation, if DRIFTDB_SCREENSHOTS names a
// folder for them.
func TestScreenshots(t *testing.T) {
	b := start(t)
	cfg := showcase(t)
	verified := func(info driftdb.BackupInfo) (int64, time.Time) {
		if strings.HasPrefix(info.Name, "shop") {
			return info.Sequence, time.Now().Add(-7 * time.Hour)
		}
		return 0, time.Time{}
	}
	h, err := inspect.Store(cfg, inspect.Options{Store: "s3://acme-backups?region=eu-north-1", Verified: verified})
	base := serve(t, h, err)
	for _, p := range []struct {
		name, path, scheme string
		width, height      int64
	}{
		{"inspect-backup", "/b/shop/", "light", 1180, 900},
		{"inspect-timeline", "/b/shop/timeline", "dark", 1180, 760},
		{"inspect-log", "/b/shop/log", "light", 1180, 820},
		{"inspect-row", "/b/shop/row?table=orders&key=7", "light", 1180, 760},
		{"inspect-phone", "/b/shop/", "dark", 390, 844},
	} {
		b.colours(p.scheme)
		b.run(chromedp.EmulateViewport(p.width, p.height))
		b.open(base + p.path)
		b.quiet(p.name)
		b.shot(p.name)
	}
}
