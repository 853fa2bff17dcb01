//go:build !linux && !windows

package dbfile

const holds = false // Hold has no lock to take
