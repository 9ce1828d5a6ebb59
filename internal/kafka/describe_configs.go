package kafka

import (
	"context"
	"slices"
	"strconv"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/config/effective"
	"github.com/karst-io/karst/internal/metadata"
)

// DescribeConfigs (key 32), versions 1–4.
//
//	v1 sources and synonyms (KIP-226)   v3 types and documentation (KIP-569)
//
// Shows what is in effect, and of every config who sets it: the resource, the
// broker, all brokers, the settings, or the default. Synonyms come by precedence.
// The broker "" is what was set for all brokers while they ran. Configs of a
// broker, and of its logger, are asked of that broker. Of a group or a
// subscription that does not exist, the defaults are shown. Secrets are null.
//
// Difference: documentation is Karst's own. Configs are listed by name. A
// request is about 500,000 configs at most, whichever of them it names; the
// resources after that are refused (POLICY_VIOLATION). There is one logger, root.
var describeConfigsAPI = API{Key: int16(kmsg.DescribeConfigs), Min: 1, Advertised: 1, Max: 4, apply: (*Server).describeConfigs, frameMax: 16 << 20}

// describedMax bounds the configs that one request has looked at: all of 14,000
// topics.
const describedMax = 500_000

func (s *Server) describeConfigs(_ context.Context, r *Request) (Pending, error) {
	req := r.Body.(*kmsg.DescribeConfigsRequest)
	resp := kmsg.NewPtrDescribeConfigsResponse()
	resp.Version = r.Version
	img := s.deps.Images.Image()
	layers := s.deps.Configs.Layers(img)
	unknown := unknownKind(req.Resources)
	described := 0
	for _, resource := range req.Resources {
		one := kmsg.NewDescribeConfigsResponseResource()
		one.ResourceType, one.ResourceName, one.Configs = resource.ResourceType, resource.ResourceName, []kmsg.DescribeConfigsResponseResourceConfig{}
		entries, err := []effective.Entry(nil), unknown
		if err == nil && described > describedMax {
			err = karst.PolicyViolation.Errorf("A request describes %d configs at most.", describedMax)
		}
		if err == nil {
			entries, err = s.entriesOf(img, layers, resource)
		}
		if err != nil {
			one.ErrorCode, one.ErrorMessage = r.Code(err), describeFault(err)
			resp.Resources = append(resp.Resources, one)
			continue
		}
		one.ErrorMessage = new("") // as from Kafka
		for i := range entries {
			if len(resource.ConfigNames) == 0 || slices.Contains(resource.ConfigNames, entries[i].Name) {
				one.Configs = append(one.Configs, configOf(&entries[i], req))
			}
		}
		described += len(entries)
		resp.Resources = append(resp.Resources, one)
	}
	return Answer(resp), nil
}

// describeFault is what is said of err: Kafka says nothing of a topic that does
// not exist, as "" rather than null.
func describeFault(err error) *string {
	if m := text(err); m != nil {
		return m
	}
	return new("")
}

// unknownKind is why a request fails as a whole: it has a resource of a type
// that Kafka does not know.
func unknownKind(resources []kmsg.DescribeConfigsRequestResource) error {
	for _, r := range resources {
		if !slices.Contains(listable, r.ResourceType) {
			return karst.InvalidRequest.Errorf("%s", kerr.InvalidRequest.Description)
		}
	}
	return nil
}

// entriesOf are the configs of one resource, by name.
func (s *Server) entriesOf(img *metadata.Image, layers effective.Layers, r kmsg.DescribeConfigsRequestResource) ([]effective.Entry, error) {
	switch r.ResourceType {
	case kmsg.ConfigResourceTypeTopic:
		if err := checkTopicName(r.ResourceName); err != nil {
			return nil, err
		}
		t, ok := img.Topic(r.ResourceName)
		if !ok {
			return nil, karst.UnknownTopic.Err()
		}
		return layers.DescribeTopic(t.Configs), nil
	case kmsg.ConfigResourceTypeBroker:
		if r.ResourceName == "" {
			return layers.DescribeCluster(), nil
		}
		if err := s.described(r.ResourceName, "expected %d or empty string, but received %s"); err != nil {
			return nil, err
		}
		return layers.DescribeBroker(), nil
	case kmsg.ConfigResourceTypeBrokerLogger:
		if r.ResourceName == "" {
			return nil, karst.InvalidRequest.Errorf("Broker id must not be empty")
		}
		level := s.deps.Configs.LogLevel()
		return []effective.Entry{{Name: rootLogger, Value: &level, Source: effective.FromLogger}}, s.described(r.ResourceName, "expected %d but received %s")
	case kmsg.ConfigResourceTypeClientMetrics:
		if r.ResourceName == "" {
			return nil, karst.InvalidRequest.Errorf("Client metrics subscription name must not be empty")
		}
		return effective.DescribeClientMetrics(img.ClientMetrics(r.ResourceName)), nil
	default:
		if r.ResourceName == "" {
			return nil, karst.InvalidRequest.Errorf("Group name must not be empty")
		}
		return layers.DescribeGroup(img.GroupConfigs(r.ResourceName)), nil
	}
}

// described refuses to describe another broker.
func (s *Server) described(name, otherwise string) error {
	id, err := strconv.ParseInt(name, 10, 32)
	switch {
	case err != nil:
		return karst.InvalidRequest.Errorf("Broker id must be an integer, but it is: %s", name)
	case karst.BrokerID(id) != s.cfg.Broker:
		return karst.InvalidRequest.Errorf("Unexpected broker id, "+otherwise, s.cfg.Broker, name)
	}
	return nil
}

func configOf(e *effective.Entry, req *kmsg.DescribeConfigsRequest) kmsg.DescribeConfigsResponseResourceConfig {
	c := kmsg.NewDescribeConfigsResponseResourceConfig()
	c.Name, c.Value, c.ReadOnly, c.IsSensitive = e.Name, e.Value, e.ReadOnly, e.Sensitive
	c.Source, c.ConfigType = kmsg.ConfigSource(e.Source), kmsg.ConfigType(e.Kind)
	c.ConfigSynonyms = []kmsg.DescribeConfigsResponseResourceConfigConfigSynonym{}
	if req.IncludeDocumentation || e.Source == effective.FromLogger {
		c.Documentation = &e.Doc
	}
	if !req.IncludeSynonyms {
		return c
	}
	for _, s := range e.Synonyms {
		synonym := kmsg.NewDescribeConfigsResponseResourceConfigConfigSynonym()
		synonym.Name, synonym.Value, synonym.Source = s.Name, s.Value, kmsg.ConfigSource(s.Source)
		c.ConfigSynonyms = append(c.ConfigSynonyms, synonym)
	}
	return c
}
