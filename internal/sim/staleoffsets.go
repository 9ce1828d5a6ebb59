package sim

import (
	"context"
	"math/rand/v2"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/karst-io/karst/internal/store/faults"
)

// playStaleOffsets replaces the broker while nothing is written, so that the old
// one hears nothing of it, and commits offsets at the new one while others go on
// to fetch them from the old one.
func (w *World) playStaleOffsets() {
	rng := rand.New(rand.NewPCG(w.Seed, 9))
	w.Start(1, faults.ObjectStore()...)
	setup, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	a := &admin{w.newClient("admin", 1)}
	s0 := a.create(setup, "s0", 2, nil)
	a.hangUp()
	if s0 == nil {
		w.reportf(Stuck, "a minute was too short to create a topic")
		return
	}
	// Of two that register one after the other either may be the newer one, which may
	// then be crashed: whatever runs a broker starts it again.
	watching, stop := context.WithCancel(context.Background())
	defer stop()
	go w.supervise(watching, func() bool { return false }, func() *Process { return w.Start(1, faults.ObjectStore()...) })
	onlookers := w.gather(Crowd{Onlookers: 4}, s0)
	c := w.newGroupClient("committer", 7900)
	for range 4 {
		c.commitFor(time.Duration(500+rng.Int64N(1500))*time.Millisecond, &consumerGroup{name: simpleGroup, topics: []*topic{s0}})
		c.hangUp()
		if all := w.alive(); len(all) > 2 {
			all[0].Crash()
		}
		w.Start(1, faults.ObjectStore()...)
	}
	c.commitFor(time.Second, &consumerGroup{name: simpleGroup, topics: []*topic{s0}})
	c.hangUp()
	onlookers.disperse()
	stop()
	(&nemesis{w: w, rng: rng}).heal()
	w.finish()
}

// commitFor commits for as long as it takes to be acknowledged, and then for a
// while.
func (c *groupClient) commitFor(d time.Duration, g *consumerGroup) {
	ctx, cancel := context.WithTimeout(context.Background(), startMax)
	defer cancel()
	var until time.Time
	for until.IsZero() || time.Now().Before(until) {
		code, err := int16(0), c.connect(ctx, g.name)
		if err == nil {
			req := kmsg.NewPtrOffsetCommitRequest()
			req.Group, req.Generation = g.name, -1
			code, err = c.commit(ctx, req, g.places())
		}
		switch {
		case err != nil || moved(code):
			c.lost()
		case code == 0 && until.IsZero():
			until = time.Now().Add(d)
		}
		if !rest(ctx, time.Duration(20+c.rng.IntN(100))*time.Millisecond) {
			c.w.reportf(Stuck, "no commit for %v", startMax)
			return
		}
	}
}
