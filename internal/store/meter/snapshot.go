package meter

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/karst-io/karst/internal/store"
)

// Outcome is how a request ended.
type Outcome uint8

// The outcomes.
const (
	OK Outcome = iota
	Exists
	NotFound
	Throttled
	Cancelled // the caller went away or ran out of time
	Failed
	OutcomeCount
)

func (o Outcome) String() string {
	return [...]string{"ok", "exists", "notfound", "throttled", "cancelled", "failed"}[o]
}

func outcomeOf(err error) Outcome {
	switch {
	case err == nil:
		return OK
	case errors.Is(err, store.ErrExists):
		return Exists
	case errors.Is(err, store.ErrNotFound):
		return NotFound
	case errors.Is(err, store.ErrThrottled):
		return Throttled
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return Cancelled
	default:
		return Failed
	}
}

// Count is what was counted of one kind of request.
type Count struct {
	Requests int64
	Bytes    int64 // sent by Create and Put whatever their outcome, received by Get
}

// Snapshot holds the counters at one moment. It is a value: keep it, subtract it.
type Snapshot [store.OpCount][store.CallerCount][OutcomeCount]Count

// Sub is what was counted since old.
func (s *Snapshot) Sub(old *Snapshot) *Snapshot {
	d := *s
	for o := range d {
		for c := range d[o] {
			for r := range d[o][c] {
				d[o][c][r].Requests -= old[o][c][r].Requests
				d[o][c][r].Bytes -= old[o][c][r].Bytes
			}
		}
	}
	return &d
}

// Op sums one kind of request over callers and outcomes.
func (s *Snapshot) Op(op store.Op) Count {
	var sum Count
	for c := range s[op] {
		sum.add(s.By(op, store.Caller(c)))
	}
	return sum
}

// By sums one kind of request of one caller over outcomes.
func (s *Snapshot) By(op store.Op, c store.Caller) Count {
	var sum Count
	for _, n := range s[op][c] {
		sum.add(n)
	}
	return sum
}

// Total sums everything.
func (s *Snapshot) Total() Count {
	var sum Count
	for op := range s {
		sum.add(s.Op(store.Op(op)))
	}
	return sum
}

func (c *Count) add(o Count) {
	c.Requests += o.Requests
	c.Bytes += o.Bytes
}

// readCost is the price of a GET or HEAD in PUTs: $0.0004 against $0.005 per
// thousand on S3 Standard. LIST costs as much as PUT, DELETE nothing.
const readCost = 0.08

// Cost is the price of all requests in PUT-equivalents.
func (s *Snapshot) Cost() float64 {
	writes := s.Op(store.OpCreate).Requests + s.Op(store.OpPut).Requests + s.Op(store.OpList).Requests
	reads := s.Op(store.OpGet).Requests + s.Op(store.OpHead).Requests
	return float64(writes) + readCost*float64(reads)
}

// String lists what is not zero, a line each, for test failures and reports.
func (s *Snapshot) String() string {
	var b strings.Builder
	for o := range s {
		for c := range s[o] {
			for r, n := range s[o][c] {
				if n.Requests != 0 {
					fmt.Fprintf(&b, "%s %s %s: %d requests, %d bytes\n", store.Op(o), store.Caller(c), Outcome(r), n.Requests, n.Bytes)
				}
			}
		}
	}
	return b.String()
}
