package kafka

import (
	"testing"

	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/log/record"
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
		want(send(first, 7, 0, 2), kerr.OutOfOrderSequenceNumber.Code, "the batch behind it")
		want(send(first, 7, 0, 4), kerr.OutOfOrderSequenceNumber.Code, "the one behind that")
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
