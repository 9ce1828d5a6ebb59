package kafka

import (
	"context"
	"math"
	"strings"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/karst-io/karst"
)

// AlterClientQuotas (key 49), versions 0–1.
//
// Entities and values are checked as in Kafka.
//
// Difference: nothing is throttled yet, and a quota that would not hold is not
// kept: a valid one is refused with UNSUPPORTED_VERSION, with validateOnly too.
// Removing quotas works, for there are none.
var alterClientQuotasAPI = API{Key: int16(kmsg.AlterClientQuotas), Max: 1, apply: (*Server).alterClientQuotas, frameMax: 4 << 20}

// quotaMax is the largest value of each quota; 0 for one that may be fractional.
var quotaMax = map[string]float64{
	"producer_byte_rate":       math.MaxInt64,
	"consumer_byte_rate":       math.MaxInt64,
	"request_percentage":       0,
	"controller_mutation_rate": 0,
	quotaOfIP:                  math.MaxInt32,
}

// quotaOfIP is the one quota that addresses have, and users and clients have not.
const quotaOfIP = "connection_creation_rate"

func (s *Server) alterClientQuotas(_ context.Context, r *Request) (Pending, error) {
	req := r.Body.(*kmsg.AlterClientQuotasRequest)
	resp := kmsg.NewPtrAlterClientQuotasResponse()
	resp.Version = r.Version
	for _, e := range req.Entries {
		err := checkQuota(e)
		a := kmsg.NewAlterClientQuotasResponseEntry()
		a.ErrorCode, a.ErrorMessage = r.Code(err), text(err)
		for _, part := range e.Entity {
			a.Entity = append(a.Entity, kmsg.AlterClientQuotasResponseEntryEntity{Type: part.Type, Name: part.Name})
		}
		resp.Entries = append(resp.Entries, a)
	}
	return Answer(resp), nil
}

func checkQuota(e kmsg.AlterClientQuotasRequestEntry) error {
	ofIP, err := checkQuotaEntity(e.Entity)
	if err != nil {
		return err
	}
	seen := map[string]bool{}
	for _, op := range e.Ops {
		if seen[op.Key] {
			return karst.InvalidRequest.Errorf("Duplicate quota key %s", op.Key)
		}
		seen[op.Key] = true
		if op.Remove {
			continue
		}
		most, known := quotaMax[op.Key]
		switch {
		case !known || ofIP != (op.Key == quotaOfIP):
			return karst.InvalidRequest.Errorf("Invalid configuration key %s", op.Key)
		case !(op.Value > 0): // NaN, too
			return karst.InvalidRequest.Errorf("Quota %s must be greater than 0", op.Key)
		case most > 0 && op.Value > most:
			return karst.InvalidRequest.Errorf("Proposed value for %s is too large.", op.Key)
		case most > 0 && op.Value != math.Trunc(op.Value):
			return karst.InvalidRequest.Errorf("%s cannot be a fractional value.", op.Key)
		}
		err = karst.UnsupportedVersion.Errorf("This broker throttles nobody yet, so it keeps no quotas.")
	}
	return err
}

// checkQuotaEntity checks whom a quota is for, and says whether that is an address.
func checkQuotaEntity(entity []kmsg.AlterClientQuotasRequestEntryEntity) (ofIP bool, err error) {
	if len(entity) == 0 {
		return false, karst.InvalidRequest.Errorf("Invalid empty client quota entity")
	}
	seen := map[string]bool{}
	for _, part := range entity {
		switch {
		case seen[part.Type]:
			return false, karst.InvalidRequest.Errorf("Invalid client quota entity, duplicate entity entry %s", part.Type)
		case part.Type != entityUser && part.Type != entityClient && part.Type != entityIP:
			return false, karst.InvalidRequest.Errorf("Unhandled client quota entity type: %s", part.Type)
		case part.Name != nil && *part.Name == "":
			return false, karst.InvalidRequest.Errorf("Empty %s not supported", part.Type)
		case part.Type == entityIP && part.Name != nil && strings.ContainsAny(*part.Name, " /"):
			return false, karst.InvalidRequest.Errorf("%s is not a valid IP or resolvable host.", *part.Name)
		}
		seen[part.Type] = true
	}
	if seen[entityIP] && len(seen) > 1 {
		return false, karst.InvalidRequest.Errorf("Invalid quota entity combination, IP entity should not be combined with User or ClientId")
	}
	return seen[entityIP], nil
}
