package objstore

import (
	"context"
	"fmt"
	"time"
)

const (
	// busyLimit is how long to retry while a file is in use. A reader of an object needs
	// less, and other writers wait meanwhile.
	busyLimit = 2 * time.Second
	// busyPause is the pause before the second try; it doubles, up to busyPauseMax.
	busyPause    = 2 * time.Millisecond
	busyPauseMax = 200 * time.Millisecond
)

// untilFree calls do, and retries for a while if it is refused because another process has
// the file open.
func untilFree(ctx context.Context, do func() error) error {
	began := time.Now()
	for wait := busyPause; ; wait = min(2*wait, busyPauseMax) {
		err := do()
		if err == nil || !inUse(err) {
			return err
		}
		if time.Since(began) >= busyLimit {
			return fmt.Errorf("%w (for %v; does another program have the file open?)", err, busyLimit)
		}
		if ended := pause(ctx, wait); ended != nil {
			return fmt.Errorf("%w while the file is in use: %v", ended, err)
		}
	}
}
