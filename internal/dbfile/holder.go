package dbfile

import (
	"fmt"
	"os"
	"regexp"
	"strconv"
)

// After the clean-shutdown marker, the lock's file says which process holds the lock, for the
// message to a process that finds it locked. It was true when the lock was taken, and proves
// nothing.
const (
	holderAt   = 128
	holderSize = 96
)

var holderLine = regexp.MustCompile(`^([A-Za-z0-9._-]{1,64}) ([0-9]{1,10}) *\n$`)

// sign writes into the locked file that this process holds the lock. If it cannot, on a full
// disk say, the message to others says less.
func (l *lock) sign() {
	host, err := os.Hostname()
	if err != nil || !holderLine.MatchString(host+" 1\n") {
		host = "unknown"
	}
	line := fmt.Sprintf("%-*s\n", holderSize-1, host+" "+strconv.Itoa(os.Getpid()))
	_, _ = l.file.WriteAt([]byte(line), holderAt)
}

// heldBy describes the process that holds the lock file at name, as far as the file can be
// read.
func heldBy(name string) string {
	file, err := openRegular(name, os.O_RDONLY)
	if err != nil {
		return "another process"
	}
	defer file.Close()
	line := make([]byte, holderSize)
	if _, err := file.ReadAt(line, holderAt); err != nil {
		return "another process"
	}
	who := holderLine.FindSubmatch(line)
	switch {
	case who == nil:
		return "another process"
	case string(who[2]) == strconv.Itoa(os.Getpid()):
		if host, err := os.Hostname(); err == nil && host == string(who[1]) {
			return "this process"
		}
	}
	return fmt.Sprintf("process %s on host %s", who[2], who[1])
}
