package orm_test

import (
	"errors"
	"fmt"
	"testing"

	"github.com/driftdb/driftdb-go/driftgorm"
	"gorm.io/driver/sqlite"
	"gorm.io/gorm"
	"gorm.io/gorm/clause"
	"gorm.io/gorm/logger"
	driver "modernc.org/sqlite"
	lib "modernc.org/sqlite/lib"
)

type User struct {
	gorm.Model        // ID, CreatedAt, UpdatedAt, DeletedAt: Delete only sets the last
	Name       string `gorm:"uniqueIndex"`
	Visits     int
	Posts      []Post `gorm:"constraint:OnDelete:CASCADE"`
}

type Post struct {
	ID     uint
	UserID uint
	Title  string
	Cover  []byte
	Tags   []Tag `gorm:"many2many:post_tags"`
}

type Tag struct {
	ID   uint
	Name string `gorm:"unique"`
}

func openGORM(t *testing.T) *gorm.DB {
	t.Helper()
	db, err := gorm.Open(sqlite.Dialector{Conn: open(t).SQL()}, &gorm.Config{Logger: logger.Discard})
	must(t, err)
	must(t, db.AutoMigrate(&User{}, &Post{}, &Tag{}))
	return db
}

func TestGORM(t *testing.T) {
	db := openGORM(t)
	ann := User{Name: "Ann", Posts: []Post{
		{Title: "Hello", Cover: []byte{0, 1, 0xff}, Tags: []Tag{{Name: "go"}, {Name: "db"}}},
		{Title: "Again"},
	}}
	must(t, db.Create(&ann).Error)
	must(t, db.CreateInBatches([]User{{Name: "Ben"}, {Name: "Cleo"}, {Name: "Dan"}}, 2).Error)
	must(t, db.Clauses(clause.OnConflict{Columns: []clause.Column{{Name: "name"}}, DoUpdates: clause.Assignments(map[string]any{"visits": 7})}).Create(&User{Name: "Ben"}).Error)
	must(t, db.Model(&ann).Updates(map[string]any{"visits": gorm.Expr("visits + ?", 2)}).Error)
	must(t, db.Model(&ann.Posts[1]).Association("Tags").Append(&ann.Posts[0].Tags[0], &Tag{Name: "sql"}))
	must(t, db.Model(&ann.Posts[0]).Association("Tags").Delete(&ann.Posts[0].Tags[1]))
	must(t, db.Exec("UPDATE posts SET title = upper(title) WHERE user_id = ?", ann.ID).Error)
	must(t, db.Where("name = ?", "Cleo").Delete(&User{}).Error)           // soft
	must(t, db.Unscoped().Where("name = ?", "Dan").Delete(&User{}).Error) // for good

	var loaded User
	must(t, db.Preload("Posts.Tags").First(&loaded, ann.ID).Error)
	equal(t, "visits", loaded.Visits, 2)
	equal(t, "title", loaded.Posts[0].Title, "HELLO")
	equal(t, "tags", fmt.Sprint(len(loaded.Posts[0].Tags), len(loaded.Posts[1].Tags)), "1 2")
	if !loaded.CreatedAt.Equal(ann.CreatedAt) {
		t.Errorf("created at %v, then %v", ann.CreatedAt, loaded.CreatedAt)
	}
	var visible, all int64
	must(t, db.Model(&User{}).Count(&visible).Error)
	must(t, db.Unscoped().Model(&User{}).Count(&all).Error)
	equal(t, "users, and with deleted ones", fmt.Sprint(visible, all), "2 3")
	var refused *driver.Error
	if err := db.Create(&Post{UserID: 999, Title: "nobody's"}).Error; !errors.As(err, &refused) || refused.Code() != lib.SQLITE_CONSTRAINT_FOREIGNKEY {
		t.Errorf("a post of an unknown user: %v", err)
	}
}

func TestGORMTransactions(t *testing.T) {
	db := openGORM(t)
	no := errors.New("no")
	err := db.Transaction(func(tx *gorm.DB) error {
		must(t, tx.Create(&User{Name: "kept"}).Error)
		inner := tx.Transaction(func(tx *gorm.DB) error { // a savepoint
			must(t, tx.Create(&User{Name: "dropped"}).Error)
			return no
		})
		if !errors.Is(inner, no) {
			return fmt.Errorf("inner transaction: %w", inner)
		}
		tx.SavePoint("here")
		must(t, tx.Model(&User{}).Where("name = ?", "kept").Update("name", "lost").Error)
		return tx.RollbackTo("here").Error
	})
	must(t, err)
	if err := db.Transaction(func(tx *gorm.DB) error { return errors.Join(tx.Create(&User{Name: "never"}).Error, no) }); !errors.Is(err, no) {
		t.Fatal(err)
	}
	var names []string
	must(t, db.Model(&User{}).Pluck("name", &names).Error)
	equal(t, "users", fmt.Sprint(names), "[kept]")
}

// Each transaction reads before it writes: none may be lost, or refused.
func TestGORMConcurrently(t *testing.T) {
	db := openGORM(t).Session(&gorm.Session{PrepareStmt: true})
	must(t, db.Create(&User{Name: "Ann"}).Error)
	together(t, 8, func(i int) error {
		for range 5 {
			err := db.Transaction(func(tx *gorm.DB) error {
				var u User
				if err := tx.Where("name = ?", "Ann").First(&u).Error; err != nil {
					return err
				}
				u.Visits++
				return tx.Save(&u).Error
			})
			if err != nil {
				return err
			}
		}
		return db.Create(&User{Name: fmt.Sprint("user ", i), Posts: []Post{{Title: "first"}}}).Error
	})
	var ann User
	must(t, db.First(&ann, "name = ?", "Ann").Error)
	equal(t, "visits", ann.Visits, 40)
}

// A changed model makes GORM copy a table and drop the old one. Where others
// refer to it, that needs a connection without foreign keys.
func TestGORMMigratesAgain(t *testing.T) {
	db := openGORM(t)
	must(t, db.Create(&User{Name: "Ann", Posts: []Post{{Title: "Hello", Tags: []Tag{{Name: "go"}}}}}).Error)
	type post struct {
		ID       uint
		UserID   uint
		Title    string `gorm:"size:200;not null;index"`
		Subtitle string `gorm:"default:none"`
	}
	must(t, db.Connection(func(tx *gorm.DB) error {
		must(t, tx.Exec("PRAGMA foreign_keys = OFF").Error)
		must(t, tx.Table("posts").AutoMigrate(&post{}))
		m := tx.Table("posts").Migrator()
		must(t, m.AlterColumn(&post{}, "Title"))
		must(t, m.DropColumn(&post{}, "cover"))
		must(t, m.RenameColumn(&post{}, "subtitle", "lead"))
		return tx.Exec("PRAGMA foreign_keys = ON").Error
	}))
	must(t, db.Exec("UPDATE posts SET lead = 'changed'").Error)
	var leads, tags []string
	must(t, db.Table("posts").Pluck("lead", &leads).Error)
	must(t, db.Table("post_tags").Joins("JOIN tags ON tags.id = tag_id").Pluck("name", &tags).Error)
	equal(t, "leads and tags", fmt.Sprint(leads, tags), "[changed] [go]")
	must(t, db.Migrator().DropTable("post_tags"))
}

// TestGORMDialects: tables that were made with GORM's own dialect are as driftgorm would
// make them, and the other way round.
func TestGORMDialects(t *testing.T) {
	db := open(t)
	dialects := []gorm.Dialector{sqlite.Dialector{Conn: db.SQL()}, driftgorm.Open(db)}
	for i := range dialects {
		before := int64(0)
		for n, dialect := range []gorm.Dialector{dialects[i], dialects[1-i]} {
			orm, err := gorm.Open(dialect, &gorm.Config{Logger: logger.Discard})
			must(t, err)
			must(t, orm.AutoMigrate(&User{}, &Post{}, &Tag{}))
			if n == 1 {
				equal(t, "changes", db.Sequence(), before)
				must(t, orm.Migrator().DropTable("post_tags", &Post{}, &Tag{}, &User{}))
			}
			before = db.Sequence()
		}
	}
}
