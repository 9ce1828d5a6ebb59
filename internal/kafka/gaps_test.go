package kafka

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/log/engine"
	"github.com/karst-io/karst/internal/log/record"
	"github.com/karst-io/karst/internal/metadata"
)

// TestNothingIsAppendedBehindAGap: after a batch that its client sends again,
// those in flight behind it are refused until it has come, be the producer new
// or not; others are not touched, and neither is another connection.
func TestNothingIsAppendedBehindAGap(t *testing.T) {
	inBubble(t, func(t *testing.T, w *dataWorld) {
		first := &Conn{server: w.server, gaps: gaps{}}
		send := func(c *Conn, producer int64, epoch int16, sequence int32) int16 {
			t.Helper()
			m := produceOf(t, 12, -1, 0)
			m.Topics[0].Partitions[0].Records = batchOf(t, 2, func(b *record.Builder) {
				b.Producer, b.ProducerEpoch, b.BaseSequence = karst.ProducerID(producer), karst.ProducerEpoch(epoch), karst.Sequence(sequence)
			})
			r, err := w.produceOn(t.Context(), c, m, "")
			if err != nil {
				t.Fatal(err)
			}
			return r.Topics[0].Partitions[0].ErrorCode
		}
		want := func(got, code int16, what string) {
			t.Helper()
			if got != code {
				t.Errorf("%s: code %d, want %d", what, got, code)
			}
		}
		refuse := func(err error) { w.log.fail = map[karst.TopicPartition]error{tpT(0): err} }

		refuse(karst.StorageError.Err())
		want(send(first, 7, 0, 0), kerr.KafkaStorageError.Code, "the first batch of a new producer")
		refuse(nil)
		want(send(first, 7, 0, 2), gapCode, "the batch behind it")
		want(send(first, 7, 0, 4), gapCode, "the one behind that")
		want(send(first, 8, 0, 2), 0, "another producer")
		want(send(first, -1, -1, -1), 0, "one that is not idempotent")
		want(send(&Conn{server: w.server, gaps: gaps{}}, 7, 0, 2), 0, "on another connection")
		want(send(first, 7, 0, 0), 0, "the first batch again")
		want(send(first, 7, 0, 2), 0, "and what follows it")

		refuse(karst.InvalidRecord.Err())
		want(send(first, 7, 0, 4), kerr.InvalidRecord.Code, "a batch that does not come again")
		refuse(nil)
		want(send(first, 7, 0, 6), 0, "what follows that: the log decides")
	})
}

// TestGapOfAPartitionNotKnownYet: a broker whose image is behind sends the first
// batch back, and knows the topic before the ones in flight behind it come.
func TestGapOfAPartitionNotKnownYet(t *testing.T) {
	inBubble(t, func(t *testing.T, w *dataWorld) {
		c := &Conn{server: w.server, gaps: gaps{}}
		send := func(sequence int32) int16 {
			t.Helper()
			m := produceOf(t, 12, -1, 0)
			m.Topics[0].Topic = "late"
			m.Topics[0].Partitions[0].Records = batchOf(t, 2, func(b *record.Builder) {
				b.Producer, b.ProducerEpoch, b.BaseSequence = 7, 1, karst.Sequence(sequence)
			})
			r, err := w.produceOn(t.Context(), c, m, "")
			if err != nil {
				t.Fatal(err)
			}
			return r.Topics[0].Partitions[0].ErrorCode
		}
		if got := send(0); got != kerr.UnknownTopicOrPartition.Code {
			t.Fatalf("the first batch: code %d", got)
		}
		w.images.apply(t, &metadata.CreateTopic{ID: karst.TopicID{7}, Name: "late", Partitions: []metadata.NewPartition{{Leader: selfInc}}})
		for _, tc := range []struct {
			sequence int32
			want     int16
		}{{2, gapCode}, {4, gapCode}, {0, 0}, {2, 0}, {4, 0}} {
			if got := send(tc.sequence); got != tc.want {
				t.Errorf("sequence %d: code %d, want %d", tc.sequence, got, tc.want)
			}
		}
	})
}

// TestGapsOfOtherEpochs: where the partition is led at another epoch the log is
// asked whether what was to come again has come, to another broker.
func TestGapsOfOtherEpochs(t *testing.T) {
	inBubble(t, func(t *testing.T, w *dataWorld) {
		c := &Conn{server: w.server, gaps: gaps{}}
		send := func(p, sequence int32) int16 {
			t.Helper()
			m := produceOf(t, 12, -1, p)
			m.Topics[0].Partitions[0].Records = batchOf(t, 2, func(b *record.Builder) {
				b.Producer, b.ProducerEpoch, b.BaseSequence = 7, 1, karst.Sequence(sequence)
			})
			r, err := w.produceOn(t.Context(), c, m, "")
			if err != nil {
				t.Fatal(err)
			}
			return r.Topics[0].Partitions[0].ErrorCode
		}
		for n, tc := range []struct {
			what  string
			away  bool                   // the partition was led by another broker meanwhile
			knows []engine.ProducerState // the log, when it is back
			want  int16
		}{
			{"the same epoch, whatever the log says", false, []engine.ProducerState{{ID: 7, Epoch: 1, LastSequence: 9}}, gapCode},
			{"it came to the other broker", true, []engine.ProducerState{{ID: 6}, {ID: 7, Epoch: 1, LastSequence: 5}}, 0},
			{"the producer is at a newer epoch", true, []engine.ProducerState{{ID: 7, Epoch: 2, LastSequence: -1}}, 0},
			{"the producer is not known", true, nil, gapCode},
			{"only what came before is known", true, []engine.ProducerState{{ID: 7, Epoch: 1, LastSequence: 3}}, gapCode},
			{"of an older epoch", true, []engine.ProducerState{{ID: 7, Epoch: 0, LastSequence: 30}}, gapCode},
		} {
			p := int32(n)
			w.log.fail = map[karst.TopicPartition]error{tpT(p): karst.NotLeader.Err()}
			if got := send(p, 4); got != kerr.NotLeaderForPartition.Code {
				t.Errorf("%s: code %d", tc.what, got)
			}
			if tc.away {
				w.move(p, otherInc)
				if got := send(p, 6); got != kerr.NotLeaderForPartition.Code {
					t.Errorf("%s, while away: code %d", tc.what, got)
				}
				w.move(p, selfInc)
			}
			clear(w.log.fail)
			w.log.with(tpT(p), func(f *fakePartition) { f.producers = tc.knows })
			if got := send(p, 6); got != tc.want {
				t.Errorf("%s: code %d, want %d", tc.what, got, tc.want)
			}
			if _, open := c.gaps[gapKey{producedTo{topic: "t", index: p}, 7, 1}]; open != (tc.want != 0) {
				t.Errorf("%s: the gap is open: %v", tc.what, open)
			}
		}
	})
}
