package chunk

import "sync"

const (
	// arenaBytes is the size of the chunks that an Arena cuts up.
	arenaBytes = 1 << 20
	// pieceMax is the largest piece that is cut from them, so that at most a
	// quarter of one is left unused.
	pieceMax = arenaBytes / 4
)

// Arena hands out pieces of chunks one after another: for memory that is given
// up in about the order in which it was taken, as the tail cache gives up WAL
// segments. Pieces of one chunk share its holds, and it is freed with the last
// of them.
//
// With a chunk for each piece, every size class kept the most that was ever in
// use of it: in a broker with a tail of 2 GiB that was 2 GiB more, and it had to
// be touched for the first time, which costs more than to copy into it.
type Arena struct {
	pool *Pool

	mu   sync.Mutex
	open *Chunk // held by the arena; nil at first and after Close
	used int
}

// NewArena makes an arena that takes its chunks from p. Close it.
func NewArena(p *Pool) *Arena { return &Arena{pool: p} }

// Get returns n bytes of undefined content, and a hold on the chunk they lie in.
func (a *Arena) Get(n int) ([]byte, *Chunk) {
	if n > pieceMax || a.pool.config.Poison { // poison shows late uses of what is freed alone
		c := a.pool.Get(n)
		return c.Bytes(), c
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.open == nil || arenaBytes-a.used < n {
		a.drop()
		a.open = a.pool.Get(arenaBytes)
	}
	b := a.open.Bytes()[a.used : a.used+n : a.used+n]
	a.used += n
	a.open.Retain()
	return b, a.open
}

// Close lets go of the open chunk.
func (a *Arena) Close() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.drop()
}

func (a *Arena) drop() {
	if a.open != nil {
		a.open.Release()
	}
	a.open, a.used = nil, 0
}
