//go:build !chunkdebug

package chunk

// poisonAll makes every pool poison what is released.
const poisonAll = false
