package kafka

import (
	"testing"
	"testing/synctest"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/karst-io/karst"
)

// The Java consumer throws where SyncGroup says that the coordinator loads.
func TestSyncWhileLoading(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, f, c := groupHarness(t, Config{})
		f.refuses = karst.CoordinatorLoading.Err()
		q := kmsg.NewPtrSyncGroupRequest()
		q.Group, q.MemberID, q.Generation = "g", "m", 1
		q.ProtocolType, q.Protocol = new("consumer"), new("range")
		if r := call[*kmsg.SyncGroupResponse](t, c, 5, q); r.ErrorCode != kerr.RebalanceInProgress.Code {
			t.Errorf("error %d", r.ErrorCode)
		}
	})
}

// Who names a topic by its name is not told about ids, whatever the log knows of
// the topic at that moment.
func TestTopicUnknownToTheLog(t *testing.T) {
	inBubble(t, func(t *testing.T, w *dataWorld) {
		w.log.fail[tpT(0)] = karst.UnknownTopicID.Errorf("no topic has id")
		for what, got := range map[string]int16{
			"Fetch 12":      answers(w.fetch(fetchOf(12, 0)))[0].ErrorCode,
			"Produce 9":     w.produce(produceOf(t, 9, -1, 0)).Topics[0].Partitions[0].ErrorCode,
			"ListOffsets":   answered[*kmsg.ListOffsetsResponse](w, applyListOffsets, listOf(7, -1)).Topics[0].Partitions[0].ErrorCode,
			"DeleteRecords": answered[*kmsg.DeleteRecordsResponse](w, applyDeleteRecords, deleteOf("t", 0)).Topics[0].Partitions[0].ErrorCode,
		} {
			if got != kerr.UnknownTopicOrPartition.Code {
				t.Errorf("%s: error %d", what, got)
			}
		}
		if got := answers(w.fetch(fetchOf(13, 0)))[0].ErrorCode; got != kerr.UnknownTopicID.Code {
			t.Errorf("Fetch 13: error %d", got)
		}
	})
}
