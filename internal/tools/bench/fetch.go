package bench

import (
	"context"
	"errors"
	"maps"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// fetchVersion is the last that names topics.
const fetchVersion = 12

// fetchRange is what a fetcher is to read of each partition.
type fetchRange struct {
	from map[int32]int64
	to   map[int32]int64 // nil: for ever
}

// fetchAll reads a range over all connections without decoding records, until
// it is read or ctx ends. on is told of each response.
func fetchAll(ctx context.Context, r *run, c *cluster, topic string, what fetchRange, on func(fetched, time.Duration)) error {
	var g sync.WaitGroup
	all, err := c.leaders(ctx, topic)
	if err != nil {
		return err
	}
	n := max(r.settings.Connections, len(all))
	for _, l := range all { // no two connections read the same partition
		n = min(n, len(all)*len(l.partitions))
	}
	for k := range n {
		f := &fetcher{run: r, cluster: c, topic: topic, index: k, connections: n, to: what.to, on: on, at: maps.Clone(what.from)}
		g.Go(func() { f.work(ctx) })
	}
	g.Wait()
	return nil
}

// fetcher is one connection that reads its share of the partitions.
type fetcher struct {
	run                *run
	cluster            *cluster
	topic              string
	index, connections int
	at, to             map[int32]int64
	on                 func(fetched, time.Duration)
}

func (f *fetcher) work(ctx context.Context) {
	for ctx.Err() == nil {
		all, err := f.cluster.leaders(ctx, f.topic)
		if err == nil {
			err = f.session(ctx, share(all, f.index, f.connections))
		}
		if err == nil {
			return
		}
		if ctx.Err() != nil {
			return
		}
		f.run.errors.add(err)
		sleepUntil(ctx, time.Now().Add(100*time.Millisecond))
	}
}

// session reads until the range is done (nil), the connection fails or ctx ends.
func (f *fetcher) session(ctx context.Context, from leader) error {
	conn, err := dial(ctx, from.addr, f.run.settings.Timeout)
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Now()) }) // wakes the read below
	defer func() { stop(); _ = conn.Close() }()
	resp := kmsg.NewPtrFetchResponse()
	resp.SetVersion(fetchVersion)
	for correlation := int32(0); ; correlation++ {
		req := f.request(from.partitions, correlation)
		if req == nil {
			return nil
		}
		begin := time.Now()
		b := frame(req)
		correlate(b, correlation)
		if _, err := conn.Write(b); err != nil {
			return err
		}
		if b, err = conn.read(); err != nil {
			return err
		}
		if err := parse(b, correlation, resp); err != nil {
			return err
		}
		got, err := f.take(resp)
		if err != nil {
			return err
		}
		f.on(got, time.Since(begin))
	}
}

// request asks for all partitions that are not done, beginning with another one
// each time: a response may be full before the last one's turn.
func (f *fetcher) request(partitions []int32, turn int32) *kmsg.FetchRequest {
	topic := kmsg.NewFetchRequestTopic()
	topic.Topic = f.topic
	for i := range partitions {
		p := partitions[(i+int(turn))%len(partitions)]
		if f.to != nil && f.at[p] >= f.to[p] {
			continue
		}
		part := kmsg.NewFetchRequestTopicPartition()
		part.Partition, part.FetchOffset = p, f.at[p]
		part.PartitionMaxBytes = max(int32(int64(f.run.settings.FetchBytes)/int64(len(partitions))), 1<<20)
		topic.Partitions = append(topic.Partitions, part)
	}
	if len(topic.Partitions) == 0 {
		return nil
	}
	req := kmsg.NewPtrFetchRequest()
	req.SetVersion(fetchVersion)
	req.MaxWaitMillis, req.MinBytes, req.MaxBytes = 500, 1, int32(f.run.settings.FetchBytes)
	req.SessionEpoch = -1 // no session
	req.Topics = append(req.Topics, topic)
	return req
}

func (f *fetcher) take(resp *kmsg.FetchResponse) (fetched, error) {
	var sum fetched
	if err := kerr.ErrorForCode(resp.ErrorCode); err != nil {
		return sum, err
	}
	for _, t := range resp.Topics {
		for _, p := range t.Partitions {
			if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
				return sum, err
			}
			got, err := walkBatches(p.RecordBatches, f.at[p.Partition])
			if err != nil {
				return sum, err
			}
			if len(p.RecordBatches) > 0 && got.next == f.at[p.Partition] {
				return sum, errors.New("a response holds no whole batch")
			}
			f.at[p.Partition] = got.next
			sum.records += got.records
			sum.bytes += got.bytes
		}
	}
	return sum, nil
}
