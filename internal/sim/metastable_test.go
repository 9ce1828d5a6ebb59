package sim

import (
	"context"
	"testing"
	"time"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/metadata"
	"github.com/karst-io/karst/internal/store/faults"
)

// crowded is a calm cluster of so many brokers, with a topic and without clients.
func (w *World) crowded(t *testing.T, brokers int, partitions int32) *fleet {
	t.Helper()
	f := w.newFleet(Scenario{Calm: true, Brokers: brokers})
	f.begin()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	a := &admin{w.newClient("admin", 1)}
	defer a.hangUp()
	if a.create(ctx, "s0", partitions, nil) == nil {
		t.Fatal("a minute was too short to create a topic")
	}
	f.wait()
	return f
}

// disturbed is what a disturbance did to a cluster.
type disturbed struct {
	claims, incarnations int64
	whole                time.Duration // from its end until the cluster was whole
}

// disturb disturbs for a while, and waits until the cluster is whole.
func (f *fleet) disturb(t *testing.T, d time.Duration, begin func(), end func()) (x disturbed) {
	t.Helper()
	claims, next := f.claims(), f.next()
	begin()
	time.Sleep(d)
	end()
	healed := time.Now()
	f.wait()
	x.whole = time.Since(healed)
	f.quiet(2*time.Second, 5*time.Second)
	x.claims, x.incarnations = f.claimsSince(claims), int64(f.next()-next)
	t.Logf("%d brokers: whole %v after the end; %d claims, %d new incarnations", len(f.all()), x.whole.Round(time.Millisecond), x.claims, x.incarnations)
	return x
}

// next is the next incarnation.
func (f *fleet) next() karst.Incarnation {
	var next karst.Incarnation
	for _, s := range f.all() {
		if img := f.at(s).Broker.Image(); img != nil {
			next = max(next, img.NextIncarnation())
		}
	}
	return next
}

// half is every other broker, the controller among them.
func (f *fleet) half() []*seat {
	c := f.controller()
	all := []*seat{c}
	for n, s := range f.all() {
		if s != c && n%2 == 0 {
			all = append(all, s)
		}
	}
	return all
}

func (f *fleet) close() {
	f.end()
	f.down(f.all(), false)
}

// TestManyBrokersSettle is what must not feed on itself: a disturbance of half of a
// large cluster, the controller included, is over when it ends, and costs at most
// what it hit.
func TestManyBrokersSettle(t *testing.T) {
	if mutated {
		t.Skip("a guard is taken away")
	}
	const brokers = 50
	for name, c := range map[string]struct {
		d      time.Duration
		begin  func(w *World, f *fleet, half []*seat)
		claims int64
		fenced int64
	}{
		// Shorter than a session: nobody is fenced.
		"frozen for a moment": {1200 * time.Millisecond, (*World).freezeAll, 5, 0},
		"frozen":              {8 * time.Second, (*World).freezeAll, 2 * brokers, brokers},
		"slow": {20 * time.Second, func(_ *World, _ *fleet, half []*seat) {
			for _, s := range half {
				s.process.Store.Add(faults.Rule{Kind: faults.Slow, Delay: faults.Uniform(4 * time.Second)})
			}
		}, 5, 0},
		"two that cannot see each other": {20 * time.Second, func(w *World, f *fleet, half []*seat) {
			w.Network.Partition(f.at(half[1]).Host, f.at(half[2]).Host)
		}, 0, 0},
		"one that cannot see the controller": {20 * time.Second, func(w *World, f *fleet, half []*seat) {
			w.Network.Partition(f.at(half[0]).Host, f.at(half[1]).Host)
		}, 0, 2},
		"half crash": {time.Second, func(_ *World, f *fleet, half []*seat) {
			for _, s := range half {
				f.take(s)
				f.at(s).Crash()
			}
			for _, s := range half {
				f.start(s, false)
			}
		}, brokers, brokers},
	} {
		t.Run(name, func(t *testing.T) {
			w := bubble(t, 1, func(w *World) {
				f := w.crowded(t, brokers, 2*brokers)
				defer f.close()
				x := f.disturb(t, c.d, func() { c.begin(w, f, f.half()) }, func() {
					w.Network.Heal()
					for _, s := range f.all() {
						f.at(s).Store.Heal()
					}
				})
				if x.claims > c.claims || x.incarnations > c.fenced {
					t.Errorf("%d claims and %d new incarnations, at most %d and %d wanted", x.claims, x.incarnations, c.claims, c.fenced)
				}
				if live := f.leads(); live != 2*brokers {
					t.Errorf("%d of %d partitions are led by the living", live, 2*brokers)
				}
			})
			for _, f := range w.Findings() {
				t.Error(f)
			}
		})
	}
}

func (w *World) freezeAll(f *fleet, half []*seat) {
	for _, s := range half {
		x := f.at(s)
		x.Store.Add(faults.Rule{Kind: faults.Slow, Delay: until(time.Now().Add(8 * time.Second))})
		w.Network.Freeze(x.Host, true)
	}
}

// leads counts the partitions that live incarnations lead.
func (f *fleet) leads() (n int) {
	img := f.at(f.controller()).Broker.Image()
	for p := range img.Partitions() {
		if b, ok := img.Broker(p.Leader); ok && b.Phase == metadata.Live {
			n++
		}
	}
	return n
}
