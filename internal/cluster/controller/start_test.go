package controller

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/karst-io/karst/internal/metadata"
	"github.com/karst-io/karst/internal/store"
	"github.com/karst-io/karst/internal/store/faults"
	"github.com/karst-io/karst/internal/store/mem"
)

// TestColdStart counts sequential requests, by making each take a second: from
// nothing to a new incarnation with leaders placed, on a bucket whose last
// controller was killed some commits after a snapshot.
func TestColdStart(t *testing.T) {
	for _, killed := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			under := mem.New("cold")
			n := start(t, under, Config{SnapshotCommits: 20})
			inc, err := n.Register(t.Context(), Registration{ID: 0})
			must(t, err)
			for k := range 50 {
				n.topic(t, fmt.Sprint("t", k))
			}
			if killed { // it never writes its last snapshot
				st := faults.New(under, 1, faults.Rule{Kind: faults.Before, Ops: []store.Op{store.OpPut}})
				n.shutdown(t)
				n = start(t, st, Config{})
				n.topic(t, "last")
			}
			n.shutdown(t)

			began := time.Now()
			st := faults.New(under, 1, faults.Rule{Kind: faults.Slow, Delay: faults.Constant(time.Second)})
			cluster, err := metadata.OpenCluster(t.Context(), st)
			must(t, err)
			r := metadata.NewReplica(st, cluster)
			must(t, r.Load(t.Context()))
			loaded := time.Since(began)
			c := &node{Controller: New(Config{}, r, st), replica: r, ended: make(chan error, 1)}
			c.run(t)
			claimed := time.Since(began)
			_, err = c.Register(t.Context(), Registration{ID: 0})
			must(t, err)
			registered := time.Since(began)
			must(t, c.Commit(t.Context(), metadata.CommitRequest{Incarnation: inc, Adopt: true, WALEnd: 1}))
			must(t, c.PlaceLeaders(t.Context()))
			t.Logf("loaded %s, claimed %s, registered %s, placed %s", loaded, claimed, registered, time.Since(began))
			if registered >= 11*time.Second {
				t.Errorf("%s from start to registered: too many sequential requests", registered)
			}
			c.shutdown(t)
		})
	}
}
