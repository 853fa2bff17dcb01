// Package inspect_test opens the inspector in a real browser: what it draws, what the keys
// and the mouse do, what another site may not, and whether people who do not see it can use
// it.
package inspect_test

import (
	"context"
	_ "embed"
	"encoding/json"
	"net/http/httptest"
	"os"
	"os/exec"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/inspect"
	"github.com/driftdb/driftdb-go/internal/systemtest"
)

//go:embed testdata/axe.min.js
var axe string

// browser is a tab of a headless Chromium, and what its console has said.
type browser struct {
	t   *testing.T
	ctx context.Context

	mu   sync.Mutex
	said []string
}

// start starts Chromium. Where it is not installed the test is skipped, unless tools are
// required.
func start(t *testing.T) *browser {
	t.Helper()
	path := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if found, err := exec.LookPath(name); err == nil {
			path = found
			break
		}
	}
	if path == "" {
		if os.Getenv("DRIFTDB_REQUIRE_TOOLS") != "" {
			t.Fatal("there is no Chromium: install chromium")
		}
		t.Skip("there is no Chromium")
	}
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.WindowSize(1280, 900), chromedp.UserDataDir(t.TempDir()))
	if os.Geteuid() == 0 { // its sandbox does not work for root
		options = append(options, chromedp.NoSandbox)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 15*time.Minute) // on a machine that is busy
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewExecAllocator(ctx, options...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx, chromedp.WithErrorf(func(string, ...any) {})) // of events that it does not know
	t.Cleanup(cancel)
	b := &browser{t: t, ctx: ctx}
	check(t, chromedp.Listen(ctx, b.hear))
	return b
}

// hear notes errors: exceptions, refusals by the policy, resources that are not there.
func (b *browser) hear(event any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		b.said = append(b.said, e.ExceptionDetails.Text)
	case *log.EventEntryAdded:
		if e.Entry.Level == "error" || e.Entry.Level == "warning" {
			b.said = append(b.said, e.Entry.Text)
		}
	}
}

// quiet fails if the console has said something.
func (b *browser) quiet(where string) {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, line := range b.said {
		b.t.Errorf("%s: the console says: %s", where, line)
	}
	b.said = nil
}

func (b *browser) run(actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	if err := chromedp.Do(b.ctx, actions...); err != nil {
		b.t.Fatal(err)
	}
}

// open opens a page, and waits for a state that is being restored.
func (b *browser) open(url string) {
	b.t.Helper()
	b.run(chromedp.Navigate(url))
	b.until(`!document.querySelector("[role=status]")?.textContent.includes("looks again")`)
}

// until waits for a condition of the page, or of the one that follows it.
func (b *browser) until(condition string) {
	b.t.Helper()
	systemtest.Eventually(b.t, condition, func() bool {
		ok, err := chromedp.Run(b.ctx, chromedp.Evaluate[bool]("document.readyState === 'complete' && !!("+condition+")"))
		return err == nil && ok
	})
}

// eval evaluates an expression, or awaits a promise.
func eval[T any](b *browser, expression string) T {
	b.t.Helper()
	value, err := chromedp.Run(b.ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		b.t.Fatalf("%s: %v", expression, err)
	}
	return value
}

// usable fails if axe finds something that shuts people out.
func (b *browser) usable(where string) {
	b.t.Helper()
	if !eval[bool](b, "'axe' in window") {
		b.run(chromedp.Evaluate[chromedp.Void](axe))
	}
	found := eval[string](b, `axe.run({resultTypes: ["violations"]}).then(r => JSON.stringify(r.violations.map(v => v.id + ": " + v.help + ": " + v.nodes.slice(0, 3).map(n => n.html.slice(0, 200) + " " + n.failureSummary).join(" | "))))`)
	var violations []string
	check(b.t, json.Unmarshal([]byte(found), &violations))
	for _, v := range violations {
		b.t.Errorf("%s: %s", where, v)
	}
}

func (b *browser) colours(scheme string) {
	b.t.Helper()
	_, err := chromedp.Call(b.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
	})
	check(b.t, err)
}

// serve serves an inspector.
func serve(t *testing.T, h *inspect.Handler, err error) string {
	t.Helper()
	check(t, err)
	server := httptest.NewServer(h)
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
		check(t, h.Close())
	})
	return server.URL
}

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

// shot stores a picture of the page if DRIFTDB_SCREENSHOTS names a folder.
func (b *browser) shot(name string) {
	b.t.Helper()
	folder := os.Getenv("DRIFTDB_SCREENSHOTS")
	if folder == "" {
		return
	}
	png, err := chromedp.Run(b.ctx, chromedp.CaptureScreenshot())
	check(b.t, err)
	check(b.t, os.WriteFile(folder+"/"+name+".png", png, 0o644))
}
