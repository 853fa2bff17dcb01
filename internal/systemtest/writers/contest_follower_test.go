package writers_test

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"

	"github.com/driftdb/driftdb-go"
)

// follow brings the contest's follower up to date. It has what the manifest confirms: rows
// that a writer has had, and all that it had before.
func (w *contest) follow() (err error) {
	ctx := context.Background()
	b, err := driftdb.OpenBackup(ctx, driftdb.BackupConfig{Name: "app", Store: w.bucket})
	var f *driftdb.Follower
	if err == nil {
		f, err = b.Follow(ctx, filepath.Join(w.dir, "follower.sqlite"), driftdb.FollowConfig{})
	}
	if errors.Is(err, driftdb.ErrNoBackup) && len(w.acked) == 0 {
		return nil
	}
	if err != nil {
		return fmt.Errorf("follow: %w", err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	tables, err := driftdb.Select[string](ctx, f.DB(), "SELECT name FROM sqlite_schema WHERE name = 't'")
	if err != nil || len(tables) == 0 && len(w.followed) == 0 { // taken over before there was anything
		return err
	}
	rows, err := driftdb.Select[string](ctx, f.DB(), "SELECT row FROM t ORDER BY id")
	switch {
	case err != nil:
		return err
	case !begins(rows, w.followed):
		return fmt.Errorf("the follower had %q, and has %q", w.followed, rows)
	case !begins(w.rivals[0].rows, rows) && !begins(w.rivals[1].rows, rows):
		return fmt.Errorf("the follower has %q, which no writer ever had: A has %q, B %q", rows, w.rivals[0].rows, w.rivals[1].rows)
	}
	w.followed = rows
	return nil
}

func begins(rows, with []string) bool {
	return len(rows) >= len(with) && slices.Equal(rows[:len(with)], with)
}

// followedAll compares the follower with the history: it has the beginning of it, or all if
// all is confirmed.
func (w *contest) followedAll(history []string, all bool) error {
	if !w.follows {
		return nil
	}
	if err := w.follow(); err != nil {
		return err
	}
	if !begins(history, w.followed) || all && len(w.followed) < len(history) {
		return fmt.Errorf("the follower has %q, the history is %q", w.followed, history)
	}
	return nil
}
