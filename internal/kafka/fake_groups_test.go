package kafka

import (
	"context"
	"sync"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/coordinator/group"
)

// fakeGroups is a group coordinator that says what it is told to say, and keeps
// what it is asked. Commits and deletions of offsets succeed unless told otherwise.
type fakeGroups struct {
	mu      sync.Mutex
	asked   []any
	says    any           // the answer to calls whose answer has its type
	fails   error         // what calls end with
	refuses error         // what calls are refused with
	hold    chan struct{} // not nil: answers wait until it is closed
	at      int32         // Partition
}

// described and deleted are requests that name a group only.
type (
	described string
	deleted   string
)

func newFakeGroups() *fakeGroups { return &fakeGroups{} }

func (f *fakeGroups) last() any {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.asked) == 0 {
		return nil
	}
	return f.asked[len(f.asked)-1]
}

type fakeCall[T any] struct {
	v    T
	err  error
	hold chan struct{}
}

func (c *fakeCall[T]) Wait(ctx context.Context) (T, error) {
	if c.hold != nil {
		select {
		case <-c.hold:
		case <-ctx.Done():
			return *new(T), ctx.Err()
		}
	}
	return c.v, c.err
}

func scripted[T any](f *fakeGroups, request any, v T) (group.Call[T], error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.asked = append(f.asked, request)
	if f.refuses != nil {
		return nil, f.refuses
	}
	if said, ok := f.says.(T); ok {
		v = said
	}
	return &fakeCall[T]{v, f.fails, f.hold}, nil
}

func (f *fakeGroups) Join(r group.JoinRequest) (group.Call[group.JoinAnswer], error) {
	return scripted(f, r, group.JoinAnswer{})
}

func (f *fakeGroups) Sync(r group.SyncRequest) (group.Call[group.SyncAnswer], error) {
	return scripted(f, r, group.SyncAnswer{})
}

func (f *fakeGroups) Heartbeat(r group.HeartbeatRequest) (group.Call[group.ErrAnswer], error) {
	return scripted(f, r, group.ErrAnswer{})
}

func (f *fakeGroups) Leave(r group.LeaveRequest) (group.Call[group.LeaveAnswer], error) {
	var a group.LeaveAnswer
	for _, m := range r.Members {
		a.Members = append(a.Members, group.LeftMember{Member: m.Member, Instance: m.Instance})
	}
	return scripted(f, r, a)
}

func (f *fakeGroups) Commit(r group.CommitRequest) (group.Call[group.CommitAnswer], error) {
	return scripted(f, r, group.CommitAnswer{Errs: make([]error, len(r.Offsets))})
}

func (f *fakeGroups) Fetch(r group.FetchRequest) (group.Call[group.FetchAnswer], error) {
	var a group.FetchAnswer
	for _, t := range r.Topics {
		ft := group.FetchedTopic{Topic: t.Topic}
		for _, p := range t.Partitions {
			ft.Offsets = append(ft.Offsets, group.FetchedOffset{Partition: p, Offset: -1, Epoch: -1})
		}
		a.Topics = append(a.Topics, ft)
	}
	return scripted(f, r, a)
}

func (f *fakeGroups) DeleteOffsets(r group.DeleteOffsetsRequest) (group.Call[group.DeleteOffsetsAnswer], error) {
	return scripted(f, r, group.DeleteOffsetsAnswer{Errs: make([]error, len(r.Offsets))})
}

func (f *fakeGroups) DeleteGroup(id string) (group.Call[group.ErrAnswer], error) {
	return scripted(f, deleted(id), group.ErrAnswer{})
}

func (f *fakeGroups) Describe(id string) (group.Call[group.Description], error) {
	return scripted(f, described(id), group.Description{Group: id, State: "Empty"})
}

func (f *fakeGroups) List() ([]group.Listing, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	said, _ := f.says.([]group.Listing)
	return said, f.refuses
}

func (f *fakeGroups) TopicsDeleted([]karst.TopicID) {}

func (f *fakeGroups) Partition(string) int32 {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.at
}
