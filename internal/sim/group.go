package sim

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Crowd is what uses groups.
type Crowd struct {
	Members   []int // of each group
	Simple    int   // clients that commit without being members, in a group of their own
	Onlookers int   // clients that fetch offsets, at whoever they take for the coordinator
}

// simpleGroup is the group of those that are no members.
const simpleGroup = "simple"

// consumerGroup is one group with its members.
type consumerGroup struct {
	w       *World
	name    string
	topics  []*topic
	static  bool // has static members (KIP-345)
	members []*groupMember
	calm    atomic.Bool // members do nothing but stay
}

// places are all partitions of its topics now.
func (g *consumerGroup) places() []place {
	var all []place
	for _, t := range g.topics {
		for p := range t.count() {
			all = append(all, place{g.name, t.name, p})
		}
	}
	return all
}

func (g *consumerGroup) topicNames() []string {
	var all []string
	for _, t := range g.topics {
		all = append(all, t.name)
	}
	return all
}

// crowd is everything of a world that uses groups.
type crowd struct {
	w      *World
	groups []*consumerGroup
	end    context.CancelFunc
	all    sync.WaitGroup
}

// gather starts a crowd about topics that are never deleted.
func (w *World) gather(c Crowd, topics ...*topic) *crowd {
	ctx, end := context.WithCancel(context.Background())
	all := &crowd{w: w, end: end}
	for n, members := range c.Members {
		g := &consumerGroup{w: w, name: fmt.Sprintf("g%d", n), topics: topics}
		g.static = w.newClient(g.name, uint64(6900+n)).rng.IntN(2) == 0
		for k := range members {
			m := g.newMember(10*n + k)
			g.members = append(g.members, m)
			life, end := context.WithCancel(ctx)
			m.end = end
			all.all.Go(func() { m.run(life) })
		}
		all.groups = append(all.groups, g)
	}
	own := &consumerGroup{w: w, name: simpleGroup, topics: topics}
	for n := range c.Simple {
		s := w.newGroupClient(fmt.Sprintf("simple.%d", n), uint64(7500+n))
		all.all.Go(func() { s.commitAlone(ctx, own) })
	}
	for n := range c.Onlookers {
		o := w.newGroupClient(fmt.Sprintf("onlooker.%d", n), uint64(7600+n))
		all.all.Go(func() { o.look(ctx, append(slices.Clone(all.groups), own)) })
	}
	return all
}

// commitAlone commits without being a member, and looks whether that was done.
func (c *groupClient) commitAlone(ctx context.Context, g *consumerGroup) {
	c.again(ctx, time.Second, func() error {
		if err := c.connect(ctx, g.name); err != nil {
			return err
		}
		at := g.places()
		some := at[c.rng.IntN(len(at)):][:1]
		if c.rng.IntN(4) == 0 {
			return c.fetch(ctx, g.name, some)
		}
		req := kmsg.NewPtrOffsetCommitRequest()
		req.Group, req.Generation = g.name, -1
		code, err := c.commit(ctx, req, some)
		if err == nil && moved(code) {
			err = errElsewhere
		}
		return err
	})
}

// look fetches offsets, of each group where it did before for as long as that
// answers.
func (c *groupClient) look(ctx context.Context, groups []*consumerGroup) {
	c.again(ctx, 800*time.Millisecond, func() error {
		g := groups[c.rng.IntN(len(groups))]
		if err := c.connect(ctx, g.name); err != nil {
			return err
		}
		if c.rng.IntN(2) == 0 {
			return c.fetch(ctx, g.name, nil)
		}
		return c.fetch(ctx, g.name, g.places())
	})
}

// again does something again and again.
func (c *groupClient) again(ctx context.Context, every time.Duration, do func() error) {
	defer c.hangUp()
	for rest(ctx, time.Duration(c.rng.Int64N(int64(every)))) {
		if do() != nil {
			c.lost()
		}
	}
}

// settleMax bounds how long a group may take to become Stable once everything is
// healed: old sessions end, somebody is asked to join again, and old joins end.
const settleMax = 90 * time.Second

// settle has one member of each group die and all others stay, and wants the
// group to become Stable with them, and nobody else.
func (c *crowd) settle() {
	for _, g := range c.groups {
		g.calm.Store(true)
		if n := len(g.members); n > 1 {
			g.members[n-1].end()
			g.members = g.members[:n-1]
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), settleMax)
	defer cancel()
	asker := c.w.newGroupClient("asker", 7700)
	defer asker.hangUp()
	for _, g := range c.groups {
		is := ""
		for g.is(ctx, asker, &is); is != ""; g.is(ctx, asker, &is) {
			if !rest(ctx, 500*time.Millisecond) {
				c.w.reportf(Stuck, "%s %v after everything was healed: %s", g.name, settleMax, is)
				return
			}
		}
		c.w.event("group settled")
	}
}

// is sets what is wrong with the group, "" if it is Stable with its members.
func (g *consumerGroup) is(ctx context.Context, c *groupClient, wrong *string) {
	if err := c.connect(ctx, g.name); err != nil {
		*wrong = err.Error()
		return
	}
	req := kmsg.NewPtrDescribeGroupsRequest()
	req.Version, req.Groups = 5, []string{g.name}
	resp, err := c.ask(ctx, req)
	if err != nil {
		*wrong = err.Error()
		return
	}
	r := resp.(*kmsg.DescribeGroupsResponse).Groups[0]
	if r.ErrorCode != 0 {
		c.lost()
	}
	var there, want []string
	for _, m := range r.Members {
		there = append(there, m.MemberID)
	}
	for _, m := range g.members {
		want = append(want, m.memberID())
	}
	slices.Sort(there)
	slices.Sort(want)
	*wrong = ""
	if r.ErrorCode != 0 || r.State != "Stable" || !slices.Equal(there, want) {
		*wrong = fmt.Sprintf("error %d, %s, members [%s], there should be [%s]", r.ErrorCode, r.State, strings.Join(there, " "), strings.Join(want, " "))
	}
}

// disperse ends everybody.
func (c *crowd) disperse() {
	c.end()
	c.all.Wait()
}

// lastOffsets reads all offsets of all groups.
func (w *World) lastOffsets(groups []string) error {
	ctx, cancel := context.WithTimeout(context.Background(), startMax)
	defer cancel()
	c := w.newGroupClient("last onlooker", 7800)
	c.fetchVersion = 8
	defer c.hangUp()
	for _, g := range groups {
		for before := w.fetchCount(g); w.fetchCount(g) == before && len(w.places(g)) > 0; {
			err := c.connect(ctx, g)
			if err == nil {
				err = c.fetch(ctx, g, nil)
			}
			if err != nil {
				c.lost()
			}
			if !rest(ctx, 50*time.Millisecond) {
				return fmt.Errorf("offsets of %s: %w", g, err)
			}
		}
	}
	return nil
}

// fetchCount is how many offsets of a group were read.
func (h *History) fetchCount(group string) (n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for p, all := range h.groups.fetches {
		if p.group == group {
			n += len(all)
		}
	}
	return n
}
