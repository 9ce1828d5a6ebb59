package group

import (
	"fmt"
	"testing"
	"time"
)

// benchGroups makes a machine with groups of ten stable members.
func benchGroups(b testing.TB, groups int) (*Machine, []HeartbeatRequest) {
	b.Helper()
	m, now := NewMachine(Config{MaxSession: time.Minute, MetadataMax: 100}), time.UnixMilli(1e12)
	for g := range groups {
		for range 10 {
			m.Join(now, 1, JoinRequest{
				Group: fmt.Sprint("group-", g), Client: Client{ID: "consumer"}, SessionTimeout: time.Minute, RebalanceTimeout: time.Minute,
				ProtocolType: consumerType, Protocols: []Protocol{{"range", subscription("orders")}},
			})
		}
	}
	for !m.Deadline().After(now) {
		m.Expire(now)
	}
	var members []HeartbeatRequest
	for id, g := range m.groups {
		for _, mb := range g.members {
			r := HeartbeatRequest{Group: id, Member: mb.id, Generation: g.generation}
			m.Sync(now, 1, SyncRequest{Group: id, Member: mb.id, Generation: g.generation})
			members = append(members, r)
		}
	}
	if m.Counts().Stable != groups {
		b.Fatalf("%+v", m.Counts())
	}
	return m, members
}

// BenchmarkHeartbeat is one heartbeat among 1,000 groups of ten.
func BenchmarkHeartbeat(b *testing.B) {
	m, members := benchGroups(b, 1000)
	now := time.UnixMilli(1e12)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		m.Heartbeat(now, 1, members[i%len(members)])
	}
}

// BenchmarkCommit is one commit of one offset among 1,000 groups of ten.
func BenchmarkCommit(b *testing.B) {
	m, members := benchGroups(b, 1000)
	now := time.UnixMilli(1e12)
	offsets := []CommitOffset{{Topic: TopicRef{Name: "orders", ID: topicID(1)}}}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		r := members[i%len(members)]
		offsets[0].Partition, offsets[0].Offset = int32(i%10), offsets[0].Offset+1
		m.Commit(now, 1, CommitRequest{Group: r.Group, Member: r.Member, Generation: r.Generation, Retention: -1, Offsets: offsets})
	}
}

// BenchmarkReplay is the load of one committed offset.
func BenchmarkReplay(b *testing.B) {
	m, _ := benchGroups(b, 1)
	c := committed{offset: 7, epoch: 1, expires: -1}
	batch := newOffsetBatch("group-0", 1)
	r := batch.offset("orders", 3, &c)
	b.SetBytes(int64(len(r.Key) + len(r.Value)))
	b.ReportAllocs()
	for b.Loop() {
		must(m.Replay(r))
	}
}
