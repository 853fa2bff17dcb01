package driftgorm_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/driftdb/driftdb-go"
	"github.com/driftdb/driftdb-go/driftgorm"
	"gorm.io/gorm"
	"gorm.io/gorm/logger"
)

// The Go code of docs/GORM.md, so that it is compiled.
var _ = openAndUse

func openAndUse(ctx context.Context, use func(*gorm.DB) error) error {
	db, err := driftdb.Open(ctx, driftdb.Config{
		Name: "app",
		Path: "data/app.sqlite",
		S3:   &driftdb.S3Config{Bucket: "my-backups"},
	})
	if err != nil {
		return err
	}
	defer db.Close() // and not the *sql.DB that orm.DB() returns
	orm, err := gorm.Open(driftgorm.Open(db), &gorm.Config{TranslateError: true})
	if err != nil {
		return err
	}
	return use(orm)
}

func Example() {
	type Note struct {
		ID   uint
		Text string `gorm:"unique"`
	}
	work, err := os.MkdirTemp("", "driftgorm-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(work)
	db, err := driftdb.Open(context.Background(), driftdb.Config{Name: "notes", Path: filepath.Join(work, "notes.sqlite")})
	if err != nil {
		panic(err)
	}
	defer db.Close()
	orm, err := gorm.Open(driftgorm.Open(db), &gorm.Config{TranslateError: true, Logger: logger.Discard})
	if err != nil {
		panic(err)
	}
	if err := orm.AutoMigrate(&Note{}); err != nil {
		panic(err)
	}
	fmt.Println(orm.Create(&Note{Text: "Buy milk"}).Error)
	err = orm.Create(&Note{Text: "Buy milk"}).Error
	fmt.Println(errors.Is(err, gorm.ErrDuplicatedKey))
	if e, ok := errors.AsType[*driftdb.Error](err); ok {
		fmt.Println(e.Message)
	}
	// Output:
	// <nil>
	// true
	// UNIQUE constraint failed: notes.text
}
