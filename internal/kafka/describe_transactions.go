package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// DescribeTransactions (key 65), version 0.
//
// No transactional id is known: TRANSACTIONAL_ID_NOT_FOUND (KIP-664).
//
// Difference: there are no transactions yet. Kafka, too, has none of an id that
// nobody used, but may say NOT_COORDINATOR instead.
var describeTransactionsAPI = API{Key: int16(kmsg.DescribeTransactions), Max: 0, apply: (*Server).describeTransactions, frameMax: 4 << 20}

func (s *Server) describeTransactions(_ context.Context, r *Request) (Pending, error) {
	resp := kmsg.NewPtrDescribeTransactionsResponse()
	resp.Version = r.Version
	for _, id := range r.Body.(*kmsg.DescribeTransactionsRequest).TransactionalIDs {
		t := kmsg.NewDescribeTransactionsResponseTransactionState()
		t.TransactionalID, t.ErrorCode = id, kerr.TransactionalIDNotFound.Code
		if id == "" {
			t.ErrorCode = kerr.InvalidRequest.Code
		}
		r.Note(t.ErrorCode)
		resp.TransactionStates = append(resp.TransactionStates, t)
	}
	return Answer(resp), nil
}
