package kafka

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/log/engine"
)

// instantLog answers each read at once.
type instantLog struct{ Log }

func (instantLog) Read(context.Context, karst.TopicPartition, engine.ReadRequest) (*engine.Read, error) {
	return &engine.Read{}, nil
}

// TestColdReadsStayWithinTheirMemory: what clients have not taken counts.
func TestColdReadsStayWithinTheirMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newColdReads(instantLog{}, 100)
		defer c.close()
		at := func(p karst.Partition) karst.TopicPartition { return karst.TopicPartition{Partition: p} }
		first := c.start(at(1), engine.ReadRequest{MaxBytes: 80}, make(chan int, 1))
		synctest.Wait()
		second := c.start(at(2), engine.ReadRequest{MaxBytes: 80}, make(chan int, 1))
		synctest.Wait()
		if !first.isReady() || second.isReady() {
			t.Fatalf("ready: first %v, second %v; the second has no room", first.isReady(), second.isReady())
		}
		first.release()
		synctest.Wait()
		if !second.isReady() || second.err != nil {
			t.Fatalf("the second did not get the room of the first: %v", second.err)
		}
		second.release()
		huge := c.start(at(3), engine.ReadRequest{MaxBytes: 1 << 30}, make(chan int, 1))
		synctest.Wait()
		if !huge.isReady() {
			t.Fatal("a read that wants more than there is never begins")
		}
		huge.release()
	})
}
