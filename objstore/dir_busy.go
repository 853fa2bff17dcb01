package objstore

import (
	"context"
	"fmt"
	"time"
)

const (
	// busyLimit is how long a file may be in use before giving up: a reader
	// of an object is done in less, and other writers wait meanwhile.
	busyLimit = 2 * time.Second
	// busyPause is waited before the second try; it doubles, up to busyPauseMax.
	busyPause    = 2 * time.Millisecond
	busyPauseMax = 200 * time.Millisecond
)

// untilFree does something to a file, and does it again for a while if it is
// refused because somebody has the file open.
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
