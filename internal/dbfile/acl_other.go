//go:build !linux

package dbfile

func keepACL(file, old string) error { return nil }
