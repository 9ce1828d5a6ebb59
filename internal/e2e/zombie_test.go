package e2e

import (
	"context"
	"encoding/binary"
	"hash/crc32"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"github.com/twmb/franz-go/pkg/kversion"
)

// TestZombie stops a broker in its tracks, starts another under the same id and
// address, and wakes the first: it acknowledges nothing any more and ends.
func TestZombie(t *testing.T) {
	stores(t, func(t *testing.T, s storeURL) {
		const rounds = 5
		network := newProxy(t, "")
		current := newNode(t, s, "--broker.id=1", "--advertise="+network.addr(), "--flush.interval=1s")
		network.point(current.addr())
		p := current.startReady()
		l := startLoad(t, network.addr())
		// A topic that only the record below is sent to.
		if _, err := adminOf(t, network.addr()).CreateTopic(t.Context(), 1, 1, nil, "zombie"); err != nil {
			t.Fatal(err)
		}
		for range rounds {
			l.flowing(1000, time.Minute)
			next := newNode(t, s, "--broker.id=1", "--advertise="+network.addr(), "--flush.interval=1s")
			late := rawClient(t, current.addr())
			if err := produceRaw(late, "zombie"); err != nil { // so it is a good request
				t.Fatal(err)
			}
			p.freeze()
			sent := make(chan error, 1)
			go func() { sent <- produceRaw(late, "zombie") }()
			network.point(next.addr())
			q := next.startReady("--broker.takeover=true")
			p.signal(syscall.SIGCONT)
			select {
			case err := <-sent:
				if err == nil {
					t.Error("the zombie acknowledged a record")
				}
			case <-time.After(time.Minute):
				t.Error("the zombie did not answer or hang up")
			}
			late.Close()
			if code := p.wait(time.Minute); code != 1 {
				t.Errorf("exit code %d of the zombie\n%s", code, p.log)
			}
			current, p = next, q
		}
		l.flowing(1000, time.Minute)
		l.end()
		count := l.ledger.verify(t, network.addr(), l.followed)
		ends := endOffsets(t.Context(), t, client(t, network.addr()), "zombie")
		if ends[0] != rounds {
			t.Errorf("%d records are there, %d were acknowledged", ends[0], rounds)
		}
		t.Logf("%d zombies; %d records acknowledged, %d read back", rounds, l.ledger.acknowledged(), count)
	})
}

// rawClient talks to one broker, in versions that name topics, and gives up at
// once.
func rawClient(t *testing.T, addr string) *kgo.Client {
	t.Helper()
	versions := kversion.Stable()
	versions.SetMaxKeyVersion(int16(kmsg.Produce), 9)
	return client(t, addr, kgo.Dialer(directly(addr)), kgo.MaxVersions(versions), kgo.RequestRetries(0), kgo.RetryTimeout(time.Second))
}

// directly dials one address, whatever a broker advertises.
func directly(addr string) func(context.Context, string, string) (net.Conn, error) {
	var d net.Dialer
	return func(ctx context.Context, network, _ string) (net.Conn, error) {
		return d.DialContext(ctx, network, addr)
	}
}

// produceRaw sends one produce request and returns nil only if it was
// acknowledged.
func produceRaw(c *kgo.Client, topic string) error {
	req := kmsg.NewPtrProduceRequest()
	req.Acks, req.TimeoutMillis = -1, 20000
	rt := kmsg.NewProduceRequestTopic()
	rt.Topic = topic
	rp := kmsg.NewProduceRequestTopicPartition()
	rp.Records = oneRecord()
	rt.Partitions = append(rt.Partitions, rp)
	req.Topics = append(req.Topics, rt)
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Second)
	defer cancel()
	resp, err := c.SeedBrokers()[0].Request(ctx, req)
	if err != nil {
		return err
	}
	if code := resp.(*kmsg.ProduceResponse).Topics[0].Partitions[0].ErrorCode; code != 0 {
		return errCode(code)
	}
	return nil
}

type errCode int16

func (e errCode) Error() string { return kerr.ErrorForCode(int16(e)).Error() }

// oneRecord is a batch of one record without key and value.
func oneRecord() []byte {
	var r kmsg.Record
	b := kmsg.RecordBatch{
		PartitionLeaderEpoch: -1, Magic: 2, FirstTimestamp: 1, MaxTimestamp: 1,
		ProducerID: -1, ProducerEpoch: -1, FirstSequence: -1, NumRecords: 1,
	}
	b.Records = r.AppendTo(nil)
	b.Records[0] = byte((len(b.Records) - 1) << 1) // zigzag
	b.Length = int32(49 + len(b.Records))
	raw := b.AppendTo(nil)
	const crcAt = 17
	binary.BigEndian.PutUint32(raw[crcAt:], crc32.Checksum(raw[crcAt+4:], crc32.MakeTable(crc32.Castagnoli)))
	return raw
}
