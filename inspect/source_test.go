package inspect_test

import (
	"context"
	"html"
	"io"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/inspect"
	"github.com/driftdb/driftdb-go/internal/systemtest"
	"github.com/driftdb/driftdb-go/objstore"
)

// TestOpenDatabase: the pages of an open database have what is not sent yet, and its
// metrics; there is no list of one.
func TestOpenDatabase(t *testing.T) {
	cfg := systemtest.Config(t)
	db := systemtest.Open(t, cfg)
	systemtest.Some(t, db, "t", 3)
	systemtest.Check(t, db.Flush(t.Context()))
	systemtest.Exec(t, db, "INSERT INTO t(v) VALUES('not sent')")
	h, err := inspect.DB(db, inspect.Options{})
	s := serve(t, h, err)
	if res, _ := s.get("/"); res.StatusCode != http.StatusSeeOther || res.Header.Get("Location") != "/b/app/" {
		t.Errorf("the root: %s %v", res.Status, res.Header)
	}
	if res, _ := s.get("/b/other/log"); res.StatusCode != http.StatusNotFound {
		t.Errorf("another name: %s", res.Status)
	}
	has(t, "overview", s.page("/b/app/"), "The open database", "1 not sent yet", "Not sent yet 1 change")
	has(t, "log", s.page("/b/app/log"), "not sent", "Transaction 5")
	has(t, "filter", s.page("/b/app/log?table=t&op=insert"), "not sent", "4 matches")
	has(t, "tx", s.page("/b/app/tx/5"), "not sent")
	has(t, "row", s.page("/b/app/row?table=t&key=4"), "not sent")
	has(t, "cost", s.page("/b/app/cost"), "Requests since it was opened")
	has(t, "tables", s.page("/b/app/tables"), "Tables after change 4", "t table 3")
}

// TestNoStore: a database without a store has a log, and says why it has nothing else.
func TestNoStore(t *testing.T) {
	cfg := systemtest.Config(t)
	cfg.Store = nil
	db := systemtest.Open(t, cfg)
	systemtest.Some(t, db, "t", 3)
	h, err := inspect.DB(db, inspect.Options{})
	s := serve(t, h, err)
	has(t, "log", s.page("/b/app/log"), "Transaction 4")
	has(t, "filter", s.page("/b/app/log?table=t"), "3 matches")
	for _, path := range []string{"/", "/b/app/", "/b/app/timeline", "/b/app/tables", "/b/app/retention", "/b/app/cost", "/b/app/diff?from=1"} {
		if res, body := s.get(path); res.StatusCode != http.StatusNotFound || !strings.Contains(body, "has no store") {
			t.Errorf("%s: %s\n%s", path, res.Status, text(body))
		}
	}
	if _, err := inspect.Store(driftdb.BackupConfig{}, inspect.Options{}); err == nil {
		t.Error("a store that is not there")
	}
}

// TestUnreadable: a backup that is damaged, or has another key, does not hide the others, and
// its pages say what to do.
func TestUnreadable(t *testing.T) {
	cfg := gallery(t)
	bucket := systemtest.BucketOf(t, cfg.Store)
	bucket["databases/notes/manifest.json"] = []byte("{")
	h, err := inspect.Store(driftdb.BackupConfig{Store: bucket.Store(t), EncryptionKeys: cfg.EncryptionKeys}, inspect.Options{})
	s := serve(t, h, err)
	has(t, "the store", s.page("/"), "notes damaged: ", "shop 1 branch", "└ shop-trial fork of shop at", "sound")
	if res, body := s.get("/b/notes/"); res.StatusCode != http.StatusBadGateway || !strings.Contains(text(body), "driftdb repair") {
		t.Errorf("damaged: %s %s", res.Status, text(body))
	}
	h, err = inspect.Store(driftdb.BackupConfig{Store: cfg.Store, EncryptionKeys: []string{strings.Repeat("11", 32)}}, inspect.Options{})
	s = serve(t, h, err)
	has(t, "with another key", s.page("/"), "shop the key is wrong or missing")
	res, body := s.get("/b/shop/log")
	if res.StatusCode != http.StatusForbidden || strings.Contains(body, strings.Repeat("11", 8)) {
		t.Errorf("with another key: %s %s", res.Status, text(body))
	}
	if res, _ := s.get("/b/nobody/"); res.StatusCode != http.StatusNotFound {
		t.Errorf("a backup that is not there: %s", res.Status)
	}
}

// silent is a store that never answers.
type silent struct{ objstore.Store }

func (silent) Get(ctx context.Context, _ string, _ objstore.GetOptions) (io.ReadCloser, objstore.Info, error) {
	<-ctx.Done()
	return nil, objstore.Info{}, ctx.Err()
}

// TestTimeout: a store that does not answer ends in a page that says so, also for those who
// wait behind others.
func TestTimeout(t *testing.T) {
	h, err := inspect.Store(driftdb.BackupConfig{Store: silent{objstore.Mem()}}, inspect.Options{Timeout: 300 * time.Millisecond})
	s := serve(t, h, err)
	done := make(chan int, 40)
	for range 40 {
		go func() {
			res, err := http.Get(s.URL + "/b/app/log")
			if err != nil {
				done <- 0
				return
			}
			res.Body.Close()
			done <- res.StatusCode
		}()
	}
	systemtest.Within(t, "forty pages", func() {
		for range 40 {
			if status := <-done; status != http.StatusGatewayTimeout {
				t.Errorf("status %d", status)
			}
		}
	})
	if _, err := inspect.Store(driftdb.BackupConfig{Store: objstore.Mem()}, inspect.Options{Timeout: -1}); err == nil {
		t.Error("a negative timeout")
	}
}

// TestTableCells: a cell of the past is shown as it was stored, with its type, also beyond a
// NUL, in tables without a rowid, with generated columns, and with hundreds of columns.
func TestTableCells(t *testing.T) {
	cfg := systemtest.Config(t)
	db := systemtest.Open(t, cfg)
	systemtest.Exec(t, db, "CREATE TABLE t(k TEXT, n INT, v, twice AS (n * 2), PRIMARY KEY(k, n)) WITHOUT ROWID")
	long := strings.Repeat("a\x00b", 2000)
	systemtest.Exec(t, db, "INSERT INTO t VALUES('x', 1, ?), ('x', 2, x'00ff'), ('y', 3, 1.0), ('z', 4, NULL), ('z', 5, 9007199254740993)", long)
	var columns []string
	for i := range 90 {
		columns = append(columns, "c"+strconv.Itoa(i))
	}
	systemtest.Exec(t, db, "CREATE TABLE wide("+strings.Join(columns, ", ")+"); INSERT INTO wide(c0, c89) VALUES('first', 'last')")
	systemtest.Exec(t, db, "CREATE TABLE rowid(rowid TEXT, v); INSERT INTO rowid VALUES('r', 'w')")
	systemtest.Check(t, db.Flush(t.Context()))
	h, err := inspect.Store(driftdb.BackupConfig{Store: cfg.Store}, inspect.Options{})
	s := serve(t, h, err)
	page := s.page("/b/app/table?table=t")
	has(t, "t", page, "a \\x00 ba \\x00 b", "x'00ff'", "1.0", "NULL", "9007199254740993", "twice", "5 rows")
	more := regexp.MustCompile(`class="more" href="([^"]*)"`).FindStringSubmatch(page)
	if more == nil {
		t.Fatal("no link to all of the long value")
	}
	if _, body := s.get(html.UnescapeString(more[1])); body != long {
		t.Errorf("the long value has %d bytes", len(body))
	}
	life := regexp.MustCompile(`<a href="([^"]*)" aria-label="Life of row 4">`).FindStringSubmatch(page)
	if life == nil {
		t.Fatal("no link to the life of a row")
	}
	has(t, "its life", s.page(html.UnescapeString(life[1])), "insert", "9007199254740993")
	page = s.page("/b/app/table?table=wide")
	has(t, "wide", page, "first", "40 of 90 columns")
	has(t, "wide, to the right", s.page("/b/app/table?table=wide&column=80"), "last", "10 of 90 columns")
	has(t, "rowid", s.page("/b/app/table?table=rowid"), "r", "w")
}
