package kafka

import (
	"context"
	"strings"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// ApiVersions (key 18), versions 0–4.
//
// Every client's first request: which APIs are served in which versions, and
// which features are on. A version above ours is answered in version 0 with the
// range of ApiVersions alone (KIP-511); the response header is always version 0.
// Version 5 (KIP-1242) is not advertised, as in Apache Kafka 4.3.
//
// Differences: the only feature is metadata.version, from which tools derive the
// version of Kafka, at Kafka 4.3's level; the epoch of features is always 0. The
// others are left out until this broker does what clients switch to when they see
// them: group.version (KIP-848), transaction.version (KIP-890), share.version
// (KIP-932), streams.version (KIP-1071); eligible.leader.replicas.version and
// kraft.version are about replicas and quorums, which do not exist here.
var apiVersionsAPI = API{Key: apiVersionsKey, Min: 0, Max: 4, apply: (*Server).apiVersions, frameMax: 64 << 10}

func (s *Server) apiVersions(_ context.Context, r *Request) (Pending, error) {
	resp := kmsg.NewPtrApiVersionsResponse()
	resp.Version = r.Version
	if r.downgraded {
		resp.ErrorCode = kerr.UnsupportedVersion.Code
		r.Note(resp.ErrorCode)
		resp.ApiKeys = []kmsg.ApiVersionsResponseApiKey{versionsOf(s.apis[apiVersionsKey])}
		return Answer(resp), nil
	}
	req := r.Body.(*kmsg.ApiVersionsRequest)
	if r.Version >= 3 {
		if !softwareName(req.ClientSoftwareName) || !softwareName(req.ClientSoftwareVersion) {
			resp.ErrorCode = kerr.InvalidRequest.Code
			r.Note(resp.ErrorCode)
			return Answer(resp), nil
		}
		r.Conn.software = req.ClientSoftwareName + "/" + req.ClientSoftwareVersion
	}
	for _, a := range s.table {
		resp.ApiKeys = append(resp.ApiKeys, versionsOf(a))
	}
	resp.SupportedFeatures, resp.FinalizedFeatures = supported(features(), r.Version), finalized(features())
	resp.FinalizedFeaturesEpoch = 0
	return Answer(resp), nil
}

func versionsOf(a API) kmsg.ApiVersionsResponseApiKey {
	k := kmsg.NewApiVersionsResponseApiKey()
	k.ApiKey, k.MinVersion, k.MaxVersion = a.Key, a.Advertised, a.Max
	return k
}

// softwareName checks a client's name or version: letters, digits, and in
// between also "-" and "." (KIP-511).
func softwareName(s string) bool {
	edge := strings.TrimFunc(s, func(r rune) bool { return r == '-' || r == '.' })
	return s != "" && len(s) == len(edge) &&
		!strings.ContainsFunc(s, func(r rune) bool { return !nameRune(r, "-.") })
}

func nameRune(r rune, punctuation string) bool {
	return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= '0' && r <= '9' || strings.ContainsRune(punctuation, r)
}
