package kafka

import (
	"context"
	"iter"
	"strconv"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/metadata"
)

// ListConfigResources (key 74), versions 0–1.
//
//	v0 ListClientMetricsResources: subscriptions only   v1 any type of resource (KIP-1142)
//
// Lists the groups and the subscriptions to client metrics that have configs,
// and all brokers and topics. Without types it lists all of them; a type that
// Kafka does not know fails the request (UNSUPPORTED_VERSION).
var listConfigResourcesAPI = API{Key: int16(kmsg.ListConfigResources), Min: 0, Max: 1, apply: (*Server).listConfigResources, frameMax: 1 << 20}

// listable are the types of resources, in the order in which they are listed.
var listable = []kmsg.ConfigResourceType{
	kmsg.ConfigResourceTypeGroupConfig, kmsg.ConfigResourceTypeClientMetrics, kmsg.ConfigResourceTypeBrokerLogger,
	kmsg.ConfigResourceTypeBroker, kmsg.ConfigResourceTypeTopic,
}

func (s *Server) listConfigResources(_ context.Context, r *Request) (Pending, error) {
	req := r.Body.(*kmsg.ListConfigResourcesRequest)
	resp := kmsg.NewPtrListConfigResourcesResponse()
	resp.Version = r.Version
	wanted := map[kmsg.ConfigResourceType]bool{}
	for _, t := range req.ResourceTypes {
		wanted[kmsg.ConfigResourceType(t)] = true
	}
	if r.Version == 0 {
		wanted = map[kmsg.ConfigResourceType]bool{kmsg.ConfigResourceTypeClientMetrics: true}
	}
	all, found := len(wanted) == 0, 0
	for _, t := range listable {
		if !all && !wanted[t] {
			continue
		}
		found++
		for name := range resourceNames(s.deps.Images.Image(), t) {
			one := kmsg.NewListConfigResourcesResponseConfigResource()
			one.Name, one.Type = name, int8(t)
			resp.ConfigResources = append(resp.ConfigResources, one)
		}
	}
	if found < len(wanted) {
		resp.ConfigResources = nil
		resp.ErrorCode = r.Code(karst.UnsupportedVersion.Errorf("a type of resource is not known"))
	}
	return Answer(resp), nil
}

// resourceNames yields the names of the resources of a type.
func resourceNames(img *metadata.Image, t kmsg.ConfigResourceType) iter.Seq[string] {
	switch t {
	case kmsg.ConfigResourceTypeGroupConfig:
		return img.ConfiguredGroups()
	case kmsg.ConfigResourceTypeClientMetrics:
		return img.ClientMetricsNames()
	case kmsg.ConfigResourceTypeTopic:
		return func(yield func(string) bool) {
			for t := range img.Topics() {
				if !yield(t.Name) {
					return
				}
			}
		}
	default:
		return func(yield func(string) bool) {
			for b := range img.LiveBrokers() {
				if !yield(strconv.Itoa(int(b.ID))) {
					return
				}
			}
		}
	}
}
