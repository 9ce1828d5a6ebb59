//go:build !unix

package disk

import "os"

func unlink(path string) error { return os.Remove(path) }

func linked(*os.File) bool { return false }

// tryLock never succeeds, so that left-over temporary files are kept.
func tryLock(*os.File) bool { return false }
