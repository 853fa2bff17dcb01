package jsbucket

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/driftdb/driftdb-go/internal/dbtest"
	"github.com/driftdb/driftdb-go/internal/sqlite"
	"github.com/driftdb/driftdb-go/objstore"
)

const prefix = "databases/crm/nodes/a1b2c3d4e5f6/"

// program does what a program with the JavaScript package does to its file and its bucket.
type program struct {
	t     testing.TB
	path  string
	store objstore.Store
	key   string // of encryption; "" for none
	plain bool   // without compression
	batch int64
	root  string // of the node in the bucket

	now, logged, sent int64
	entries           []map[string]any
	ids               int
}

func newProgram(t testing.TB) *program {
	p := &program{t: t, path: filepath.Join(t.TempDir(), "js.sqlite"), store: objstore.Mem(), batch: 100, root: prefix, now: 1704067200000}
	p.sql(`CREATE TABLE _driftdb_meta(key TEXT PRIMARY KEY, value TEXT NOT NULL);
		CREATE TABLE _driftdb_queue(id TEXT PRIMARY KEY, type TEXT NOT NULL, payload TEXT NOT NULL);
		CREATE TABLE _driftdb_log(sequence INTEGER PRIMARY KEY AUTOINCREMENT, timestamp INTEGER NOT NULL, nodeId TEXT NOT NULL,
			"table" TEXT NOT NULL, operation TEXT NOT NULL, data TEXT, synced INTEGER NOT NULL DEFAULT 0);
		CREATE TABLE users(id TEXT PRIMARY KEY, createdAt INTEGER NOT NULL, updatedAt INTEGER NOT NULL,
			"name" TEXT NOT NULL, "email" TEXT UNIQUE, "age" INTEGER, "score" REAL DEFAULT 0, "active" BOOLEAN DEFAULT true, "photo" BLOB);
		CREATE INDEX idx_users_age ON users(age);
		CREATE TABLE posts(id TEXT PRIMARY KEY, createdAt INTEGER NOT NULL, updatedAt INTEGER NOT NULL,
			"userId" TEXT REFERENCES users(id) ON DELETE CASCADE, "title" TEXT, "meta" TEXT, "words" INTEGER DEFAULT 7);
		CREATE TABLE counts("name" TEXT PRIMARY KEY, n INTEGER NOT NULL);
		CREATE TRIGGER post AFTER INSERT ON posts BEGIN
			INSERT INTO counts VALUES('posts', 1) ON CONFLICT DO UPDATE SET n = n + 1;
		END`)
	return p
}

func (p *program) conn(fn func(c *sqlite.Conn) error) {
	p.t.Helper()
	c, err := sqlite.Open(p.path, sqlite.Options{ForeignKeys: true, KeepJournal: true})
	ok(p.t, err)
	ok(p.t, fn(c))
	ok(p.t, c.Close())
}

// sql is db.raw(): it is not logged.
func (p *program) sql(script string) {
	p.t.Helper()
	p.conn(func(c *sqlite.Conn) error { return c.Exec(script) })
}

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// do runs a repository's SQL, and logs the call.
func (p *program) do(table, operation, script string, data any) {
	p.t.Helper()
	p.now++
	p.logged++
	text := stringify(p.t, data)
	p.conn(func(c *sqlite.Conn) error {
		if err := c.Exec(script); err != nil {
			return err
		}
		if c.Changes() == 0 {
			p.t.Fatalf("%s changes nothing", script)
		}
		return c.Exec(fmt.Sprintf(`INSERT INTO _driftdb_log(timestamp, nodeId, "table", operation, data) VALUES(%d, 'a1b2c3d4e5f6', '%s', '%s', '')`, p.now, table, operation))
	})
	p.entries = append(p.entries, map[string]any{"sequence": p.logged, "timestamp": p.now, "table": table, "operation": operation, "data": json.RawMessage(text)})
}

// user creates a user, and returns its id.
func (p *program) user(name string, age any) string {
	p.t.Helper()
	p.ids++
	id, at := fmt.Sprintf("u-%d", p.ids), p.now+1
	sqlAge := "NULL"
	if age != nil {
		sqlAge = fmt.Sprint(age)
	}
	p.do("users", "insert", fmt.Sprintf(`INSERT INTO users(id, createdAt, updatedAt, "name", "email", "age", "photo", "active") VALUES('%s', %d.0, %d.0, '%s', '%s@x', %s, x'00ff', 1.0)`, id, at, at, name, id, sqlAge),
		map[string]any{"id": id, "createdAt": at, "updatedAt": at, "name": name, "email": id + "@x", "age": age,
			"photo": map[string]any{"type": "Buffer", "data": []int{0, 255}}, "active": true})
	return id
}

func (p *program) post(user, title string) {
	p.t.Helper()
	p.ids++
	id, at := fmt.Sprintf("p-%d", p.ids), p.now+1
	p.do("posts", "insert", fmt.Sprintf(`INSERT INTO posts(id, createdAt, updatedAt, userId, title, meta) VALUES('%s', %d.0, %d.0, '%s', '%s', '{"tags":["a","<b>"],"n":1}')`, id, at, at, user, title),
		json.RawMessage(fmt.Sprintf(`{"id":%q,"createdAt":%d,"updatedAt":%d,"userId":%q,"title":%q,"meta":{"tags":["a","<b>"],"n":1}}`, id, at, at, user, title)))
}

// update is a call of update; where is the condition in JSON, and in SQL.
func (p *program) update(table, set, data, whereSQL, where string) {
	p.t.Helper()
	at := p.now + 1
	p.do(table, "update", fmt.Sprintf("UPDATE %s SET %s, updatedAt = %d.0 WHERE %s", table, set, at, whereSQL),
		json.RawMessage(fmt.Sprintf(`{"where":%s,"data":{%s,"updatedAt":%d}}`, where, data, at)))
}

func (p *program) remove(table, whereSQL, where string) {
	p.t.Helper()
	p.do(table, "delete", fmt.Sprintf("DELETE FROM %s WHERE %s", table, whereSQL), json.RawMessage(`{"where":`+where+`}`))
}

// sync sends what is logged, in batches.
func (p *program) sync() {
	p.t.Helper()
	for p.sent < p.logged {
		to := min(p.sent+p.batch, p.logged)
		p.put(fmt.Sprintf("%slogs/%012d-%012d.json", p.root, p.sent+1, to), p.json(p.sent+1, to))
		p.sent = to
	}
	p.manifest("")
}

func (p *program) json(from, to int64) []byte {
	return stringify(p.t, map[string]any{"version": 1, "nodeId": "a1b2c3d4e5f6", "fromSequence": from, "toSequence": to, "entries": p.entries[from-1 : to]})
}

// stringify makes JSON as JavaScript does, which escapes no HTML.
func stringify(t testing.TB, v any) []byte {
	t.Helper()
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	ok(t, e.Encode(v))
	return bytes.TrimSuffix(b.Bytes(), []byte("\n"))
}

// snapshot sends a copy of the file.
func (p *program) snapshot() string {
	p.t.Helper()
	p.now++
	p.sql("PRAGMA wal_checkpoint(FULL)")
	data, err := os.ReadFile(p.path)
	ok(p.t, err)
	key := fmt.Sprintf("%ssnapshots/%d.sqlite", p.root, p.now)
	p.put(key, data)
	p.manifest(key)
	return key
}

func (p *program) manifest(snapshot string) {
	p.t.Helper()
	text := stringify(p.t, map[string]any{"dbName": "crm", "nodeId": "a1b2c3d4e5f6", "latestSnapshotKey": snapshot, "latestLogSequence": p.sent, "updatedAt": p.now})
	key := "databases/crm/manifest.json"
	if p.root != prefix {
		key = p.root + "manifest.json"
	}
	p.raw(key, text)
}

func (p *program) raw(key string, data []byte) {
	p.t.Helper()
	_, err := p.store.Put(context.Background(), key, bytes.NewReader(data), objstore.PutOptions{})
	ok(p.t, err)
}

// put compresses and encrypts as the package does.
func (p *program) put(key string, data []byte) {
	p.t.Helper()
	if !p.plain {
		var b bytes.Buffer
		w, err := gzip.NewWriterLevel(&b, gzip.BestSpeed)
		ok(p.t, err)
		_, err = w.Write(data)
		ok(p.t, err)
		ok(p.t, w.Close())
		data = b.Bytes()
	}
	if p.key != "" {
		key, err := hex.DecodeString(p.key)
		ok(p.t, err)
		block, err := aes.NewCipher(key)
		ok(p.t, err)
		gcm, err := cipher.NewGCM(block)
		ok(p.t, err)
		nonce := make([]byte, 12)
		_, _ = rand.Read(nonce)
		sealed := gcm.Seal(nil, nonce, data, nil)
		text, tag := sealed[:len(sealed)-16], sealed[len(sealed)-16:]
		data = bytes.Join([][]byte{nonce, tag, text}, nil)
	}
	p.raw(key, data)
}

// some writes things of each kind.
func (p *program) some() {
	p.t.Helper()
	ann, ben := p.user("Ann", 30), p.user("Ben", nil)
	p.user("Cleo "+"ü\u2028", 17.5)
	p.post(ann, "one")
	p.post(ann, "two")
	p.post(ben, "three")
	p.update("users", `age = 31.0, score = 2.5, active = 0.0`, `"age":31,"score":2.5,"active":false`, `id = '`+ann+`'`, fmt.Sprintf(`{"id":%q}`, ann))
	p.update("posts", `words = 9.0`, `"words":9`, `title IN ('one','two') AND words < 8 AND title LIKE 't%'`, `{"title":{"$in":["one","two"],"$like":"t%"},"words":{"$lt":8}}`)
	p.update("users", `age = 1.0`, `"age":1`, `age IS NULL AND "name" != 'x'`, `{"age":null,"name":{"$ne":"x"}}`)
	p.update("posts", `meta = '[1,2]'`, `"meta":[1,2]`, `1`, `{"meta":{"unknown":1}}`) // no operator: all rows
	p.remove("users", `"name" = 'Ben' AND age >= 1 AND age <= 1 AND age > 0`, `{"name":"Ben","age":{"$gte":1,"$lte":1,"$gt":0}}`)
}

// want is the program's database, without the package's tables.
func (p *program) want() string {
	p.t.Helper()
	for _, name := range []string{"_driftdb_log", "_driftdb_queue", "_driftdb_meta"} {
		p.sql("DROP TABLE " + name)
	}
	return p.path
}

// migrate runs with these options.
func (p *program) migrate(o Options) (Result, string, error) {
	p.t.Helper()
	if o.Path == "" {
		o.Path = filepath.Join(p.t.TempDir(), "new.sqlite")
	}
	if p.key != "" && o.Keys == nil {
		o.Keys = []string{p.key}
	}
	res, err := Run(context.Background(), p.store, o)
	return res, o.Path, err
}

// same fails unless a migration gives what the program has.
func (p *program) same(o Options) Result {
	p.t.Helper()
	res, path, err := p.migrate(o)
	ok(p.t, err)
	dbtest.Equal(p.t, p.want(), path)
	return res
}
