package objstore

import "golang.org/x/sys/windows"

var busyErrnos = []error{windows.ERROR_SHARING_VIOLATION, windows.ERROR_ACCESS_DENIED, windows.ERROR_USER_MAPPED_FILE}
