package controller

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/metadata"
	"github.com/karst-io/karst/internal/store"
	"github.com/karst-io/karst/internal/store/faults"
	"github.com/karst-io/karst/internal/store/mem"
)

// node is one broker as far as metadata goes.
type node struct {
	*Controller
	replica *metadata.Replica
	stop    context.CancelFunc
	ended   chan error
}

func start(t *testing.T, st store.Store, cfg Config) *node {
	t.Helper()
	cluster, err := metadata.OpenCluster(t.Context(), st)
	if err != nil {
		t.Fatal(err)
	}
	n := &node{replica: metadata.NewReplica(st, cluster), ended: make(chan error, 1)}
	if err := n.replica.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	n.Controller = New(cfg, n.replica, st)
	n.run(t)
	return n
}

// run starts Run and waits until it is active or has ended.
func (n *node) run(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	n.stop = cancel
	go func() { n.ended <- n.Run(ctx, nil) }()
	for !n.Active() && len(n.ended) == 0 {
		time.Sleep(time.Millisecond)
	}
}

func (n *node) shutdown(t *testing.T) {
	t.Helper()
	n.stop()
	if err := <-n.ended; err != nil {
		t.Errorf("Run: %v", err)
	}
}

// read is what a fresh broker finds in the bucket.
func read(t *testing.T, st store.Store) *metadata.Image {
	t.Helper()
	cluster, err := metadata.OpenCluster(t.Context(), st)
	if err != nil {
		t.Fatal(err)
	}
	r := metadata.NewReplica(st, cluster)
	if err := r.Load(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := r.Image().CheckInvariants(); err != nil {
		t.Fatal(err)
	}
	return r.Image()
}

func same(t *testing.T, a, b *metadata.Image) {
	t.Helper()
	if !bytes.Equal(metadata.EncodeSnapshot(a), metadata.EncodeSnapshot(b)) {
		t.Errorf("images differ: %s and %s", a.Position(), b.Position())
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (n *node) topic(t *testing.T, name string) *metadata.TopicState {
	t.Helper()
	s, err := n.CreateTopic(t.Context(), TopicSpec{Name: name, Partitions: 3, ReplicationFactor: 3})
	must(t, err)
	return s
}

func TestLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := mem.New("life")
		a := start(t, st, Config{})
		told := 0
		a.replica.Listen(func(*metadata.Image, *metadata.Delta) { told++ })
		inc, err := a.Register(t.Context(), Registration{ID: 7, Host: "h", Port: 9092})
		must(t, err)
		topic := a.topic(t, "t")
		p, ok := a.replica.Image().Partition(karst.TopicPartition{Topic: topic.ID, Partition: 2})
		if !ok || p.Leader != inc || p.Broker != 7 || len(p.Replicas) != 1 || topic.ReplicationFactor != 3 {
			t.Errorf("partition %+v of topic %+v", p, topic)
		}
		first, n, err := a.AllocateProducerIDs(t.Context())
		must(t, err)
		if first != 0 || n != 1000 || told != 3 {
			t.Errorf("producer ids %d+%d, %d commits told", first, n, told)
		}
		was := a.replica.Image()
		a.shutdown(t)
		same(t, was, read(t, st))

		b := start(t, st, Config{})
		defer b.shutdown(t)
		same(t, was, b.replica.Image())
		again, err := b.Register(t.Context(), Registration{ID: 7})
		must(t, err)
		old, _ := b.replica.Image().Broker(inc)
		if again <= inc || old.Phase != metadata.Fenced {
			t.Errorf("incarnation %d after %d, which is %v", again, inc, old.Phase)
		}
		must(t, b.PlaceLeaders(t.Context())) // nothing is adopted yet
		must(t, b.Commit(t.Context(), metadata.CommitRequest{Incarnation: inc, Adopt: true, WALEnd: 1}))
		must(t, b.PlaceLeaders(t.Context()))
		for p := range b.replica.Image().Partitions() {
			if p.Leader != again || p.Epoch != 1 {
				t.Errorf("%s: leader %d, epoch %d", p.ID, p.Leader, p.Epoch)
			}
		}
		must(t, b.Forget(t.Context(), inc))
	})
}

// TestTwoControllers lets two brokers take the term from each other while both
// propose: one history, each proposal in it at most once, and everything that
// was confirmed is in it.
func TestTwoControllers(t *testing.T) {
	for seed := range uint64(20) {
		synctest.Test(t, func(t *testing.T) {
			under := mem.New("two")
			st := faults.New(under, seed,
				faults.Rule{Kind: faults.Slow, Delay: faults.Uniform(60 * time.Millisecond)},
				faults.Rule{Kind: faults.After, Chance: 0.1}, faults.Rule{Kind: faults.Before, Chance: 0.05},
				faults.Rule{Kind: faults.Late, Delay: faults.Constant(90 * time.Millisecond), Chance: 0.05},
			)
			var mu sync.Mutex
			confirmed := map[karst.TopicID]string{}
			ctx, cancel := context.WithCancel(t.Context())
			var wg sync.WaitGroup
			var nodes []*node
			for n := range 2 {
				a := &node{replica: replicaOf(t, under, st)}
				a.Controller = New(Config{SnapshotCommits: 5, TermCommits: 7, StallTimeout: 300 * time.Millisecond}, a.replica, st)
				nodes = append(nodes, a)
				wg.Go(func() {
					for ctx.Err() == nil {
						_ = a.Run(ctx, nil)
						time.Sleep(time.Duration(seed*7+uint64(n)*13) * time.Millisecond)
					}
				})
				wg.Go(func() {
					_, _ = a.Register(ctx, Registration{ID: karst.BrokerID(n)})
					for k := 0; ctx.Err() == nil; k++ {
						name := fmt.Sprintf("n%d-%d", n, k)
						if s, err := a.CreateTopic(ctx, TopicSpec{Name: name, Partitions: 1, ReplicationFactor: 1}); err == nil {
							mu.Lock()
							confirmed[s.ID] = name
							mu.Unlock()
						} else if errors.Is(err, karst.InvalidReplication.Err()) {
							_, _ = a.Register(ctx, Registration{ID: karst.BrokerID(n)})
						}
						time.Sleep(50 * time.Millisecond) // a sealer must catch up now and then
					}
				})
			}
			time.Sleep(5 * time.Second)
			cancel()
			wg.Wait()
			st.Wait()
			final := read(t, under)
			if len(confirmed) < 20 {
				t.Errorf("seed %d: only %d topics were created", seed, len(confirmed))
			}
			for id, name := range confirmed {
				if s, ok := final.TopicByID(id); !ok || s.Name != name {
					t.Errorf("seed %d: confirmed topic %s is gone", seed, name)
				}
			}
			for _, a := range nodes {
				r := a.replica
				st.Heal()
				must(t, r.CatchUp(t.Context()))
				same(t, r.Image(), final)
			}
		})
	}
}

func replicaOf(t *testing.T, under, st store.Store) *metadata.Replica {
	t.Helper()
	cluster, err := metadata.OpenCluster(t.Context(), under)
	must(t, err)
	return metadata.NewReplica(st, cluster)
}

// TestCrashAtEveryStep cuts a controller off after each of its creates, with
// and without the effect; the next one finds everything that was confirmed.
func TestCrashAtEveryStep(t *testing.T) {
	for _, kind := range []faults.Kind{faults.Before, faults.After} {
		for step := range int64(14) {
			synctest.Test(t, func(t *testing.T) {
				under := mem.New("crash")
				st := faults.New(under, 1, faults.Rule{Kind: kind, Ops: []store.Op{store.OpCreate, store.OpPut}, Skip: step})
				cluster, err := metadata.OpenCluster(t.Context(), under)
				must(t, err)
				r := metadata.NewReplica(st, cluster)
				c := New(Config{StallTimeout: time.Second, SnapshotCommits: 3, TermCommits: 4}, r, st)
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				defer cancel()
				var wg sync.WaitGroup
				wg.Go(func() { _ = c.Run(ctx, nil) })
				var names []string
				time.Sleep(time.Millisecond)
				_, err = c.Register(ctx, Registration{ID: 1})
				for k := 0; err == nil && k < 10; k++ {
					name := fmt.Sprint("t", k)
					if _, err = c.CreateTopic(ctx, TopicSpec{Name: name, Partitions: 1, ReplicationFactor: 1}); err == nil {
						names = append(names, name)
					}
				}
				cancel()
				wg.Wait()
				st.Crash()
				st.Wait()
				next := start(t, under, Config{})
				for _, name := range names {
					if _, ok := next.replica.Image().Topic(name); !ok {
						t.Errorf("%v at create %d: confirmed topic %s is gone", kind, step, name)
					}
				}
				next.shutdown(t)
				same(t, next.replica.Image(), read(t, under))
			})
		}
	}
}
