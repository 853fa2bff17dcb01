package driftgorm_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/driftdb/driftdb-go/driftgorm"
	"gorm.io/gorm"
)

// TestAgain: to migrate what is there already changes nothing.
func TestAgain(t *testing.T) {
	db, orm := open(t, config(t))
	must(t, orm.Create(&User{Name: "Ann", Posts: []Post{{Title: "Hello", Tags: []Tag{{Name: "go"}}}}}).Error)
	before := db.Sequence()
	for range 2 {
		must(t, orm.AutoMigrate(&User{}, &Post{}, &Tag{}))
		must(t, over(t, db).AutoMigrate(&User{}, &Post{}, &Tag{}))
	}
	equal(t, "changes", db.Sequence(), before)
}

// A newer model of the posts.
type newPost struct {
	ID       uint
	UserID   uint
	User     User   `gorm:"constraint:OnDelete:CASCADE"`
	Title    string `gorm:"size:200;not null;index:by_title"`
	Subtitle string `gorm:"default:none"`
	Words    int64  `gorm:"index:by_title;check:words >= 0"`
}

func (newPost) TableName() string { return "posts" }

// TestMigrate adds columns, indexes and constraints, drops and renames, and changes a type,
// in tables with rows to which others refer.
func TestMigrate(t *testing.T) {
	db, orm := open(t, config(t))
	must(t, orm.Create(&User{Name: "Ann", Posts: []Post{{Title: "Hello", Tags: []Tag{{Name: "go"}}}}}).Error)
	must(t, orm.AutoMigrate(&newPost{}))
	m := orm.Migrator()
	for _, column := range []string{"subtitle", "words"} {
		equal(t, column, m.HasColumn(&newPost{}, column), true)
	}
	equal(t, "index", m.HasIndex(&newPost{}, "by_title"), true)
	equal(t, "check", m.HasConstraint(&newPost{}, "chk_posts_words"), true)
	if err := orm.Exec("UPDATE posts SET words = -1").Error; !errors.Is(err, gorm.ErrCheckConstraintViolated) {
		t.Errorf("the new check: %v", err)
	}
	must(t, m.AlterColumn(&newPost{}, "Title"))
	must(t, m.RenameColumn(&newPost{}, "subtitle", "lead"))
	must(t, m.RenameIndex(&newPost{}, "by_title", "by_words"))
	must(t, m.DropConstraint(&newPost{}, "chk_posts_words"))
	equal(t, "check", m.HasConstraint(&newPost{}, "chk_posts_words"), false)

	before := db.Sequence()
	must(t, m.DropColumn(&newPost{}, "lead"))
	equal(t, "entries for a dropped column", db.Sequence()-before, int64(1))
	must(t, m.DropColumn(&newPost{}, "words")) // which has an index
	equal(t, "words", m.HasColumn(&newPost{}, "words"), false)
	if err := m.DropColumn(&newPost{}, "nothing"); err == nil || !strings.Contains(err.Error(), "nothing") {
		t.Errorf("a column that is not there: %v", err)
	}

	var titles, tags []string
	must(t, orm.Table("posts").Pluck("title", &titles).Error)
	must(t, orm.Table("post_tags").Joins("JOIN tags ON tags.id = tag_id").Pluck("name", &tags).Error)
	equal(t, "titles and tags", fmt.Sprint(titles, tags), "[Hello] [go]")
	var enforced bool
	must(t, orm.Raw("PRAGMA foreign_keys").Scan(&enforced).Error)
	equal(t, "foreign keys", enforced, true)
	must(t, m.DropTable(&Tag{}, "post_tags"))
	equal(t, "tags", m.HasTable(&Tag{}), false)
	must(t, orm.AutoMigrate(&Tag{}))
}

// TestMigrateInTransaction: where SQLite would delete the rows that refer to a table that
// is rebuilt, nothing happens.
func TestMigrateInTransaction(t *testing.T) {
	for name, session := range map[string]*gorm.Session{"plain": {}, "prepared": {PrepareStmt: true}} {
		t.Run(name, func(t *testing.T) {
			_, orm := open(t, config(t))
			migrateInTransaction(t, orm.Session(session))
		})
	}
}

func migrateInTransaction(t *testing.T, orm *gorm.DB) {
	t.Helper()
	must(t, orm.Create(&User{Name: "Ann", Posts: []Post{{Title: "Hello"}}}).Error)
	type user struct {
		Name string `gorm:"size:10;check:name_is_there,name != ''"`
		Note string
	}
	type postTag struct{ Note string } // nobody refers to these
	must(t, orm.Migrator().AddColumn(&postTag{}, "Note"))
	for name, change := range map[string]func(m gorm.Migrator) error{
		"AlterColumn":      func(m gorm.Migrator) error { return m.AlterColumn(&user{}, "Name") },
		"CreateConstraint": func(m gorm.Migrator) error { return m.CreateConstraint(&user{}, "name_is_there") },
		"DropConstraint":   func(m gorm.Migrator) error { return m.DropConstraint(&User{}, "chk_users_age") },
		"DropColumn":       func(m gorm.Migrator) error { return m.DropColumn(&User{}, "Name") },
		"DropTable":        func(m gorm.Migrator) error { return m.DropTable(&User{}) },
	} {
		err := orm.Transaction(func(tx *gorm.DB) error { return change(tx.Migrator()) })
		if !errors.Is(err, driftgorm.ErrInTransaction) {
			t.Errorf("%s: %v", name, err)
		}
	}
	must(t, orm.Transaction(func(tx *gorm.DB) error { // no table needs to be rebuilt
		return errors.Join(tx.AutoMigrate(&User{}, &Post{}, &Tag{}), tx.Migrator().AddColumn(&user{}, "Note"), tx.Migrator().DropColumn(&user{}, "Note"),
			tx.Migrator().AlterColumn(&postTag{}, "Note"), tx.Migrator().DropTable(&Tag{}, &postTag{}))
	}))
	equal(t, "tags", orm.Migrator().HasTable(&Tag{}), false)
	var posts int64
	must(t, orm.Model(&Post{}).Count(&posts).Error)
	equal(t, "posts", posts, int64(1))
}
