package kafka

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// Two frames that need more than is left both complete, one after the other:
// the first overdraws.
func TestHalfReadFramesDoNotDeadlock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := budget{free: 100}
		var x, y, z draw
		if !b.try(&x, 50) || !b.try(&y, 50) || b.try(&z, 1) {
			t.Fatal("the budget does not add up")
		}
		if err := b.take(t.Context(), &x, 100); err != nil { // overdraws
			t.Fatal(err)
		}
		var order []string
		go func() { _ = b.take(t.Context(), &z, 1); order = append(order, "z") }()
		synctest.Wait()
		go func() { _ = b.take(t.Context(), &y, 100); order = append(order, "y") }()
		synctest.Wait()
		if len(order) != 0 {
			t.Fatalf("%v got memory that is not there", order)
		}
		b.give(&x)
		synctest.Wait()
		if len(order) != 1 || order[0] != "y" {
			t.Fatalf("order %v: growth comes first", order)
		}
		b.give(&y)
		synctest.Wait()
		if len(order) != 2 {
			t.Fatal("the new frame starves")
		}
		b.give(&z)
		if b.free != 100 || b.overdrawn || x.held+y.held+z.held != 0 {
			t.Errorf("not everything was given back: %d", b.free)
		}
	})
}

func TestBudgetWaitEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := budget{free: 10}
		var x, y draw
		b.try(&x, 10)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if err := b.take(ctx, &y, 5); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
		b.give(&x)
		if b.free != 10 || y.held != 0 {
			t.Errorf("who gave up got %d bytes", y.held)
		}
	})
}
