package kafka

import (
	"context"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/karst-io/karst"
)

// InitProducerId (key 22), versions 0–5.
//
// Without a transactional id the answer is always a new producer id with epoch
// 0, whatever id and epoch the client names (KIP-360): there is no state.
//
// Difference: with a transactional id the answer is COORDINATOR_NOT_AVAILABLE,
// as in a cluster whose transaction log is not available: transactions are not
// served yet.
var initProducerIDAPI = API{Key: 22, Min: 0, Max: 5, apply: (*Server).initProducerID, frameMax: 1 << 20}

// ProducerIDs hands out producer ids never handed out before.
type ProducerIDs interface {
	Next(ctx context.Context) (karst.ProducerID, error)
}

func (s *Server) initProducerID(ctx context.Context, r *Request) (Pending, error) {
	req := r.Body.(*kmsg.InitProducerIDRequest)
	resp := kmsg.NewPtrInitProducerIDResponse()
	resp.Version = r.Version
	resp.ProducerID, resp.ProducerEpoch = -1, -1
	switch {
	case (req.ProducerID == -1) != (req.ProducerEpoch == -1),
		req.TransactionalID != nil && *req.TransactionalID == "":
		resp.ErrorCode = kerr.InvalidRequest.Code
	case req.TransactionalID != nil:
		resp.ErrorCode = kerr.CoordinatorNotAvailable.Code
	default:
		id, err := s.deps.Producers.Next(ctx)
		if err != nil {
			// What Kafka says while it waits for a block of ids: clients ask again.
			resp.ErrorCode = kerr.CoordinatorLoadInProgress.Code
			break
		}
		resp.ProducerID, resp.ProducerEpoch = int64(id), 0
	}
	r.Note(resp.ErrorCode)
	return Answer(resp), nil
}
