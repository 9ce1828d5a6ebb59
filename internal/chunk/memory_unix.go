//go:build unix && !linux && !race

package chunk

// giveBack keeps the pages: the system swaps them out if it must.
func giveBack([]byte) {}

// wantHuge does nothing: there is no portable way to ask.
func wantHuge([]byte) {}
