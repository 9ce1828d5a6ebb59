package kafka

import (
	"context"
	"regexp"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// ListTransactions (key 66), versions 0–2.
//
//	v1 filter by duration (KIP-994)   v2 filter by a pattern of the id (KIP-1152)
//
// There are no transactions. States that do not exist are told, and a pattern that
// is none is INVALID_REGULAR_EXPRESSION.
var listTransactionsAPI = API{Key: int16(kmsg.ListTransactions), Max: 2, apply: (*Server).listTransactions, frameMax: 256 << 10}

func (s *Server) listTransactions(_ context.Context, r *Request) (Pending, error) {
	req := r.Body.(*kmsg.ListTransactionsRequest)
	resp := kmsg.NewPtrListTransactionsResponse()
	resp.Version = r.Version
	if p := req.TransactionalIDPattern; p != nil {
		if _, err := regexp.Compile(strings.ToValidUTF8(*p, "\ufffd")); err != nil {
			resp.ErrorCode = kerr.InvalidRegularExpression.Code
			r.Note(resp.ErrorCode)
			return Answer(resp), nil
		}
	}
	for _, state := range req.StateFilters {
		switch state {
		case "Empty", "Ongoing", "PrepareCommit", "PrepareAbort", "CompleteCommit", "CompleteAbort", "Dead", "PrepareEpochFence":
		default:
			resp.UnknownStateFilters = append(resp.UnknownStateFilters, state)
		}
	}
	return Answer(resp), nil
}
