package orm_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/objstore"
	"gorm.io/driver/sqlite"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"
)

// closer is a database that is closed while GORM is at work.
type closer struct {
	*gorm.DB
	t    *testing.T
	name int // names are numbers
	mu   sync.Mutex
	fate map[string]error // of each user; nil: acknowledged
}

// TestGORMClose closes the database under GORM. The next Open finds nothing wrong
// with the file, and in it who was acknowledged, and nobody who was not. After
// Close no descriptor is open, whatever GORM still holds.
func TestGORMClose(t *testing.T) {
	rounds := 10
	if s := os.Getenv("DRIFTDB_CLOSES"); s != "" {
		var err error
		rounds, err = strconv.Atoi(s)
		must(t, err)
	}
	cfg := driftdb.Config{
		Name: "app", Path: filepath.Join(t.TempDir(), "app.sqlite"), Store: objstore.Mem(), SyncInterval: 10 * time.Millisecond,
		OnEvent: func(e driftdb.Event) {
			if e.Scope == driftdb.ScopeCapture {
				t.Errorf("%s: %v", e.Message, e.Attrs)
			}
		},
	}
	c := &closer{t: t, fate: map[string]error{}}
	var slowest time.Duration
	for round := range rounds {
		db, err := driftdb.Open(t.Context(), cfg)
		must(t, err)
		c.DB, err = gorm.Open(sqlite.Dialector{Conn: db.SQL()}, &gorm.Config{Logger: logger.Discard, PrepareStmt: round%2 == 1})
		must(t, err)
		must(t, c.AutoMigrate(&User{}, &Post{}, &Tag{}))
		c.compare()
		var all sync.WaitGroup
		for _, write := range []func(*closer, string) error{(*closer).create, (*closer).batches, (*closer).transaction, (*closer).save} {
			all.Go(func() { c.loop(write) })
		}
		rows, err := c.Model(&User{}).Rows() // which GORM keeps open
		must(t, err)
		time.Sleep(time.Duration(5+round%20) * time.Millisecond)
		began := time.Now()
		err = db.Close()
		if took := time.Since(began); err != nil || took > 5*time.Second {
			t.Errorf("round %d: Close: %v after %v", round, err, took)
		} else {
			slowest = max(slowest, took)
		}
		if n := openFiles(filepath.Dir(cfg.Path)); n > 0 {
			t.Errorf("round %d: %d descriptors are open", round, n)
		}
		all.Wait()
		rows.Close()
	}
	t.Logf("%d closes, the slowest took %v; %d users", rounds, slowest, len(c.fate))
	db, err := driftdb.Open(t.Context(), cfg)
	must(t, err)
	defer db.Close()
	must(t, db.Flush(context.Background()))
	equal(t, "barriers", db.Metrics().Barriers, int64(0))
}

func (c *closer) loop(write func(*closer, string) error) {
	for {
		c.mu.Lock()
		c.name++
		name := strconv.Itoa(c.name)
		c.mu.Unlock()
		err := write(c, name)
		c.mu.Lock()
		c.fate[name] = err
		c.mu.Unlock()
		if err != nil {
			if !errors.Is(err, driftdb.ErrClosed) && !strings.Contains(err.Error(), "sql: database is closed") {
				c.t.Errorf("user %s: %v", name, err)
			}
			return
		}
	}
}

func (c *closer) create(name string) error { return c.Create(&User{Name: name}).Error }

func (c *closer) batches(name string) error {
	return c.CreateInBatches([]User{{Name: name, Posts: []Post{{Title: "of " + name}}}}, 1).Error
}

func (c *closer) transaction(name string) error {
	return c.Transaction(func(tx *gorm.DB) error {
		if err := tx.Create(&User{Name: name}).Error; err != nil {
			return err
		}
		return tx.Transaction(func(tx *gorm.DB) error { // a savepoint
			return tx.Model(&User{}).Where("name = ?", name).Update("visits", 1).Error
		})
	})
}

// save reads and writes without a transaction of GORM's.
func (c *closer) save(name string) error {
	db := c.Session(&gorm.Session{SkipDefaultTransaction: true})
	var some []User
	if err := db.Preload("Posts").Limit(3).Find(&some).Error; err != nil {
		return err
	}
	return db.Save(&User{Name: name}).Error
}

func (c *closer) compare() {
	var names []string
	must(c.t, c.Model(&User{}).Pluck("name", &names).Error)
	there := map[string]bool{}
	for _, name := range names {
		there[name] = true
	}
	for name, err := range c.fate {
		if there[name] != (err == nil) {
			c.t.Errorf("user %s, of whom was said %v, is there: %v", name, err, there[name])
		}
	}
}

// openFiles is how many descriptors this process has below dir; 0 where the
// system does not say.
func openFiles(dir string) (n int) {
	list, _ := os.ReadDir("/proc/self/fd")
	for _, fd := range list {
		if name, err := os.Readlink(fmt.Sprint("/proc/self/fd/", fd.Name())); err == nil && strings.HasPrefix(name, dir+"/") {
			n++
		}
	}
	return n
}
