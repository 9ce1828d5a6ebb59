package wal

import "github.com/karst-io/karst"

// Commit is the durability of what one WAL segment holds; everything appended
// to the same open buffer shares it.
type Commit struct {
	done chan struct{}
	err  error // set before done is closed
}

func newCommit() *Commit { return &Commit{done: make(chan struct{})} }

// Done is closed when the segment and all before it are durable, or never will
// be known to be.
func (c *Commit) Done() <-chan struct{} { return c.done }

// Err is nil after Done if the segment is durable; otherwise the outcome is
// unknown and Err a *karst.Error of code TimedOut. Of a refused append it is a
// *karst.Error of code NotLeader: nothing happened.
func (c *Commit) Err() error { return c.err }

func (c *Commit) finish(err *karst.Error) {
	if err != nil {
		c.err = err
	}
	close(c.done)
}
