package driftgorm_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/driftgorm"
	"github.com/driftdb/driftdb-go/internal/dbtest"
	"github.com/driftdb/driftdb-go/objstore"
	"gorm.io/gorm"
	"gorm.io/gorm/clause"
	"gorm.io/gorm/logger"
)

type User struct {
	gorm.Model        // ID, CreatedAt, UpdatedAt, DeletedAt: Delete only sets the last
	Name       string `gorm:"uniqueIndex"`
	Age        int    `gorm:"check:age >= 0"`
	Active     bool
	Score      float64
	Photo      []byte
	Seen       *time.Time
	Posts      []Post `gorm:"constraint:OnDelete:CASCADE"`
}

type Post struct {
	ID     uint
	UserID uint
	Title  string
	Tags   []Tag `gorm:"many2many:post_tags"`
}

type Tag struct {
	ID   uint
	Name string `gorm:"unique"`
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func equal(t *testing.T, what string, got, want any) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

// config is of a new database.
func config(t *testing.T) driftdb.Config {
	t.Helper()
	return driftdb.Config{Name: "app", Path: filepath.Join(t.TempDir(), "app.sqlite"), Store: objstore.Mem(), ManualSync: true}
}

// open opens a database with its tables. When the test ends, what the log in its store
// gives back must be equal to it.
func open(t *testing.T, cfg driftdb.Config) (*driftdb.DB, *gorm.DB) {
	t.Helper()
	db, err := driftdb.Open(t.Context(), cfg)
	must(t, err)
	t.Cleanup(func() {
		if err := db.Flush(context.Background()); err != nil {
			t.Error(err)
		}
		for info, err := range cfg.Store.List(context.Background(), "", objstore.ListOptions{}) {
			if err != nil || strings.Contains(info.Key, "/snapshots/") { // its pages would hide what the log lacks
				t.Errorf("%s is there, %v", info.Key, err)
			}
		}
		restored := filepath.Join(t.TempDir(), "restored.sqlite")
		if _, err := driftdb.Restore(context.Background(), driftdb.RestoreConfig{Name: cfg.Name, Path: restored, Store: cfg.Store}); err != nil {
			t.Error(err)
		} else {
			dbtest.Equal(t, cfg.Path, restored)
		}
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	orm := over(t, db)
	must(t, orm.AutoMigrate(&User{}, &Post{}, &Tag{}))
	return db, orm
}

func over(t *testing.T, db *driftdb.DB) *gorm.DB {
	t.Helper()
	orm, err := gorm.Open(driftgorm.Open(db), &gorm.Config{TranslateError: true, Logger: logger.Discard})
	must(t, err)
	return orm
}

// TestRows: what is written is read back, values of each type included.
func TestRows(t *testing.T) {
	_, orm := open(t, config(t))
	seen := time.Date(2026, 1, 2, 3, 4, 5, 678900000, time.UTC)
	ann := User{Name: "Ann", Age: 30, Active: true, Score: 2.5, Photo: []byte{0, 1, 0xff}, Seen: &seen, Posts: []Post{
		{Title: "Hello", Tags: []Tag{{Name: "go"}, {Name: "db"}}}, {Title: "Again"},
	}}
	must(t, orm.Create(&ann).Error)
	must(t, orm.CreateInBatches([]User{{Name: "Ben"}, {Name: "Cleo"}, {Name: "Dan"}}, 2).Error)
	must(t, orm.Clauses(clause.OnConflict{Columns: []clause.Column{{Name: "name"}}, DoUpdates: clause.Assignments(map[string]any{"age": 7})}).Create(&User{Name: "Ben"}).Error)
	must(t, orm.Model(&ann.Posts[1]).Association("Tags").Append(&ann.Posts[0].Tags[0]))
	must(t, orm.Where("name = ?", "Cleo").Delete(&User{}).Error)           // soft
	must(t, orm.Unscoped().Where("name = ?", "Dan").Delete(&User{}).Error) // for good
	returned := []User{}
	must(t, orm.Model(&returned).Clauses(clause.Returning{}).Where("name = ?", "Ann").Update("score", gorm.Expr("score * 2")).Error)

	var loaded User
	must(t, orm.Preload("Posts.Tags").First(&loaded, ann.ID).Error)
	for _, u := range []User{loaded, returned[0]} {
		equal(t, "values", fmt.Sprint(u.Name, u.Age, u.Active, u.Score, u.Photo), fmt.Sprint("Ann", 30, true, 5.0, []byte{0, 1, 0xff}))
		if u.Seen == nil || !u.Seen.Equal(seen) || !u.CreatedAt.Equal(ann.CreatedAt) {
			t.Errorf("seen %v, created %v; want %v, %v", u.Seen, u.CreatedAt, seen, ann.CreatedAt)
		}
	}
	equal(t, "tags", fmt.Sprint(len(loaded.Posts[0].Tags), len(loaded.Posts[1].Tags)), "2 1")
	var visible, all int64
	must(t, orm.Model(&User{}).Count(&visible).Error)
	must(t, orm.Unscoped().Model(&User{}).Count(&all).Error)
	equal(t, "users, and with deleted ones", fmt.Sprint(visible, all), "2 3")
	var page []User
	must(t, orm.Unscoped().Order("name").Offset(1).Find(&page).Error) // without a limit
	equal(t, "second user", page[0].Name, "Ben")
	must(t, orm.Clauses(clause.Locking{Strength: "UPDATE"}).First(&loaded).Error) // SQLite has no FOR UPDATE
}

// TestTranslate: GORM's errors of constraints, which are SQLite's, too.
func TestTranslate(t *testing.T) {
	_, orm := open(t, config(t))
	must(t, orm.Create(&User{Name: "Ann"}).Error)
	must(t, orm.Exec("CREATE TABLE strict(n INTEGER NOT NULL) STRICT").Error)
	for name, c := range map[string]struct {
		err  error
		want error // nil: no error of GORM's
		code int
	}{
		"unique":      {orm.Create(&User{Name: "Ann"}).Error, gorm.ErrDuplicatedKey, 2067},
		"primary key": {orm.Create(&User{Model: gorm.Model{ID: 1}, Name: "Zoe"}).Error, gorm.ErrDuplicatedKey, 1555},
		"foreign key": {orm.Create(&Post{UserID: 999}).Error, gorm.ErrForeignKeyViolated, 787},
		"check":       {orm.Create(&User{Name: "Ben", Age: -1}).Error, gorm.ErrCheckConstraintViolated, 275},
		"raw":         {orm.Exec("INSERT INTO posts(user_id) VALUES(999)").Error, gorm.ErrForeignKeyViolated, 787},
		"not null":    {orm.Exec("INSERT INTO strict VALUES(NULL)").Error, nil, 1299},
		"syntax":      {orm.Exec("SELEKT").Error, nil, 1},
	} {
		e, ok := errors.AsType[*driftdb.Error](c.err)
		if !ok || e.ExtendedCode != c.code || c.want != nil && !errors.Is(c.err, c.want) {
			t.Errorf("%s: %v", name, c.err)
		}
		for _, other := range []error{gorm.ErrDuplicatedKey, gorm.ErrForeignKeyViolated, gorm.ErrCheckConstraintViolated} {
			if other != c.want && errors.Is(c.err, other) {
				t.Errorf("%s is also %v", name, other)
			}
		}
	}
	if err := orm.First(&User{}, 99).Error; !errors.Is(err, gorm.ErrRecordNotFound) {
		t.Errorf("a user who is not there: %v", err)
	}
}

func TestTransactions(t *testing.T) {
	for name, session := range map[string]*gorm.Session{"plain": {}, "prepared": {PrepareStmt: true}} {
		t.Run(name, func(t *testing.T) {
			_, orm := open(t, config(t))
			transactions(t, orm.Session(session))
		})
	}
}

func transactions(t *testing.T, orm *gorm.DB) {
	t.Helper()
	no := errors.New("no")
	must(t, orm.Transaction(func(tx *gorm.DB) error {
		must(t, tx.Create(&User{Name: "kept"}).Error)
		inner := tx.Transaction(func(tx *gorm.DB) error { // a savepoint
			must(t, tx.Create(&User{Name: "dropped"}).Error)
			return no
		})
		if !errors.Is(inner, no) {
			return fmt.Errorf("inner transaction: %w", inner)
		}
		must(t, tx.SavePoint("here").Error)
		must(t, tx.Model(&User{}).Where("name = ?", "kept").Update("name", "lost").Error)
		if err := tx.Session(&gorm.Session{NewDB: true}).RollbackTo("nowhere").Error; err == nil {
			t.Error("went back to a savepoint that is not there")
		}
		return tx.Session(&gorm.Session{NewDB: true}).RollbackTo("here").Error
	}))
	if err := orm.Transaction(func(tx *gorm.DB) error { return errors.Join(tx.Create(&User{Name: "never"}).Error, no) }); !errors.Is(err, no) {
		t.Fatal(err)
	}
	var names []string
	must(t, orm.Model(&User{}).Pluck("name", &names).Error)
	equal(t, "users", fmt.Sprint(names), "[kept]")
}

// TestReadOnly: a write through a database that only reads.
func TestReadOnly(t *testing.T) {
	cfg := config(t)
	_, orm := open(t, cfg)
	must(t, orm.Create(&User{Name: "Ann"}).Error)
	cfg.ReadOnly = true
	reader, err := driftdb.Open(t.Context(), cfg)
	must(t, err)
	read := over(t, reader)
	var ann User
	must(t, read.First(&ann, "name = ?", "Ann").Error)
	if err := read.Create(&User{Name: "Ben"}).Error; !errors.Is(err, driftdb.ErrReadOnly) {
		t.Errorf("a write: %v", err)
	}
	must(t, reader.Close())
}

// TestFenced: a write after another machine has taken the database over.
func TestFenced(t *testing.T) {
	cfg := config(t)
	cfg.Logger = slog.New(slog.DiscardHandler)
	db, err := driftdb.Open(t.Context(), cfg)
	must(t, err)
	defer db.Close()
	orm := over(t, db)
	must(t, orm.AutoMigrate(&Tag{}))
	must(t, db.Flush(t.Context()))
	other := cfg
	other.Path, other.AutoRestore = filepath.Join(t.TempDir(), "app.sqlite"), true
	second, other2 := open(t, other)
	must(t, other2.Create(&Tag{Name: "theirs"}).Error)
	must(t, second.Flush(t.Context()))
	must(t, orm.Create(&Tag{Name: "ours"}).Error)
	if err := db.Flush(t.Context()); !errors.Is(err, driftdb.ErrFenced) {
		t.Fatalf("Flush: %v", err)
	}
	if err := orm.Create(&Tag{Name: "late"}).Error; !errors.Is(err, driftdb.ErrFenced) {
		t.Errorf("a write: %v", err)
	}
}
