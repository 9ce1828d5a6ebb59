package broker

import (
	"context"
	"maps"
	"slices"
	"sync"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/cluster/peer"
)

// handOvers are the partitions that an incarnation is handing over.
type handOvers struct {
	mu    sync.Mutex
	queue map[karst.TopicPartition]peer.Move
	busy  map[karst.TopicPartition]bool
	wake  chan struct{}
}

func newHandOvers() *handOvers {
	return &handOvers{queue: map[karst.TopicPartition]peer.Move{}, busy: map[karst.TopicPartition]bool{}, wake: make(chan struct{}, 1)}
}

// add asks for moves; those under way are left alone.
func (h *handOvers) add(moves []peer.Move) {
	h.mu.Lock()
	for _, m := range moves {
		if !h.busy[m.Partition] {
			h.queue[m.Partition] = m
		}
	}
	h.mu.Unlock()
	select {
	case h.wake <- struct{}{}:
	default:
	}
}

// take takes all moves that wait.
func (h *handOvers) take() []peer.Move {
	h.mu.Lock()
	defer h.mu.Unlock()
	moves := slices.Collect(maps.Values(h.queue))
	for tp := range h.queue {
		h.busy[tp] = true
	}
	clear(h.queue)
	return moves
}

func (h *handOvers) done() {
	h.mu.Lock()
	defer h.mu.Unlock()
	clear(h.busy)
}

// underWay is how many partitions are being handed over.
func (h *handOvers) underWay() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.busy)
}

// handOver hands partitions over as they are asked for, until ctx ends.
func (l *life) handOver(ctx context.Context) {
	for {
		select {
		case <-l.moves.wake:
		case <-ctx.Done():
			return
		}
		if moves := l.moves.take(); len(moves) > 0 {
			l.give(ctx, moves)
			l.moves.done()
		}
	}
}

// give hands partitions over in one commit: what lies in the write-ahead log is
// flushed first, so that little is left to do while clients wait; then nothing of
// the partitions may be in flight (I2).
func (l *life) give(ctx context.Context, moves []peer.Move) {
	if l.flusher.Flush(ctx) != nil {
		return
	}
	img := l.b.replica.Image()
	to := map[karst.TopicPartition]karst.Incarnation{}
	for _, m := range moves {
		if s, ok := img.Partition(m.Partition); ok && s.Leader == l.self && s.Epoch == m.Epoch {
			to[m.Partition] = m.To
		}
	}
	if len(to) == 0 {
		return
	}
	tps := slices.SortedFunc(maps.Keys(to), karst.TopicPartition.Compare)
	l.groups.Offer(tps)
	err := l.engine.Offer(ctx, tps)
	if err == nil {
		err = l.flusher.HandOver(context.WithoutCancel(ctx), to) // ends with the flusher
	}
	kept := l.kept(tps)
	l.engine.Withdraw(kept)
	l.groups.Withdraw(kept)
	switch {
	case err != nil:
		l.b.log.Warn("hand-over failed", "partitions", len(tps), "kept", len(kept), "err", err)
	default:
		l.handedOver.Add(int64(len(tps) - len(kept)))
		l.b.log.Info("handed over", "partitions", len(tps)-len(kept), "kept", len(kept))
	}
}

// kept are the partitions of an offer that the image says are still led here.
func (l *life) kept(tps []karst.TopicPartition) []karst.TopicPartition {
	img := l.b.replica.Image()
	return slices.DeleteFunc(slices.Clone(tps), func(tp karst.TopicPartition) bool {
		s, ok := img.Partition(tp)
		return !ok || s.Leader != l.self
	})
}
