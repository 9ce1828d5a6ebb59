package kafka

import (
	"context"
	"errors"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/cluster/controller"
	"github.com/karst-io/karst/internal/config/effective"
	"github.com/karst-io/karst/internal/coordinator/group"
	"github.com/karst-io/karst/internal/metadata"
)

// CreateTopics (key 19), versions 2–7.
//
// Every broker takes it. Each topic succeeds or fails by itself; a name that
// occurs twice fails. validateOnly checks everything and creates nothing. From
// version 5 the answer has the partitions, the replication factor and the configs
// in effect (KIP-525), from version 7 the topic's id.
//
// Difference: any replication factor is accepted, where Kafka wants as many brokers
// (INVALID_REPLICATION_FACTOR), and told in the answer; it says nothing about
// durability. Replicas that are assigned by hand have to be brokers.
var createTopicsAPI = API{Key: 19, Min: 2, Advertised: 2, Max: 7, apply: (*Server).createTopics, forward: forwardAlways, frameMax: 16 << 20}

func (s *Server) createTopics(ctx context.Context, r *Request) (Pending, error) {
	req := r.Body.(*kmsg.CreateTopicsRequest)
	resp := kmsg.NewPtrCreateTopicsResponse()
	resp.Version = r.Version
	ctx, cancel := adminContext(ctx, req.TimeoutMillis)
	defer cancel()

	twice := repeated(req.Topics, func(t kmsg.CreateTopicsRequestTopic) string { return t.Topic })
	answered := map[string]bool{}
	var specs []controller.TopicSpec
	budget := partitionsPerRequest
	for _, t := range req.Topics {
		if answered[t.Topic] {
			continue
		}
		answered[t.Topic] = true
		spec, err := topicSpec(t, req.ValidateOnly)
		if twice[t.Topic] {
			err = karst.InvalidRequest.Errorf("Duplicate topic name.")
		}
		if err == nil {
			if budget -= int(max(spec.Partitions, int32(len(spec.Assignment)), 1)); budget < 0 {
				err = karst.PolicyViolation.Errorf("Excessively large number of partitions per request.")
			}
		}
		if err != nil {
			resp.Topics = append(resp.Topics, failedTopic(r, t.Topic, err))
			continue
		}
		specs = append(specs, spec)
	}
	created := make([]*metadata.TopicState, len(specs))
	errs := make([]error, len(specs))
	concurrently(len(specs), func(i int) { created[i], errs[i] = s.deps.Topics.CreateTopic(ctx, specs[i]) })
	layers := s.deps.Configs.Layers(s.deps.Images.Image())
	for i, spec := range specs {
		if errs[i] != nil {
			resp.Topics = append(resp.Topics, failedTopic(r, spec.Name, errs[i]))
			continue
		}
		resp.Topics = append(resp.Topics, createdTopic(created[i], layers))
	}
	return Answer(resp), nil
}

// topicSpec translates one topic of a request and checks what can be told from
// it alone; the controller checks the rest.
func topicSpec(t kmsg.CreateTopicsRequestTopic, validateOnly bool) (controller.TopicSpec, error) {
	spec := controller.TopicSpec{
		Name:              t.Topic,
		Partitions:        t.NumPartitions,
		ReplicationFactor: t.ReplicationFactor,
		Configs:           make(map[string]string, len(t.Configs)),
		Internal:          t.Topic == group.Topic,
		ValidateOnly:      validateOnly,
	}
	if err := checkTopicName(t.Topic); err != nil {
		return spec, err
	}
	for _, c := range t.Configs {
		if c.Value == nil {
			return spec, karst.InvalidConfig.Errorf("Null value not supported for topic configs: %s", c.Name)
		}
		spec.Configs[c.Name] = *c.Value
	}
	if len(t.ReplicaAssignment) > 0 {
		return assigned(spec, t.ReplicaAssignment)
	}
	switch {
	case spec.ReplicationFactor < -1 || spec.ReplicationFactor == 0:
		return spec, karst.InvalidReplication.Errorf("Replication factor must be larger than 0, or -1 to use the default value.")
	case spec.Partitions < -1 || spec.Partitions == 0:
		return spec, karst.InvalidPartitions.Errorf("Number of partitions was set to an invalid non-positive value.")
	}
	return spec, nil
}

// assigned puts a manual assignment into spec.
func assigned(spec controller.TopicSpec, manual []kmsg.CreateTopicsRequestTopicReplicaAssignment) (controller.TopicSpec, error) {
	if spec.ReplicationFactor != -1 {
		return spec, karst.InvalidRequest.Errorf("A manual partition assignment was specified, but replication factor was not set to -1.")
	}
	if spec.Partitions != -1 {
		return spec, karst.InvalidRequest.Errorf("A manual partition assignment was specified, but numPartitions was not set to -1.")
	}
	spec.Assignment = make([][]karst.BrokerID, len(manual))
	for _, a := range manual {
		if a.Partition < 0 || int(a.Partition) >= len(manual) {
			return spec, karst.InvalidAssignment.Errorf("partitions should be a consecutive 0-based integer sequence")
		}
		if spec.Assignment[a.Partition] != nil {
			return spec, karst.InvalidAssignment.Errorf("Found multiple manual partition assignments for partition %d", a.Partition)
		}
		spec.Assignment[a.Partition] = brokerIDs(a.Replicas)
	}
	return spec, nil
}

func failedTopic(r *Request, name string, err error) kmsg.CreateTopicsResponseTopic {
	t := kmsg.NewCreateTopicsResponseTopic()
	t.Topic, t.ErrorCode, t.ErrorMessage = name, r.Code(err), text(err)
	if t.ErrorMessage == nil && !errors.Is(err, context.Canceled) {
		t.ErrorMessage = new(kerr.ErrorForCode(t.ErrorCode).(*kerr.Error).Description) //nolint:errorlint // it comes from kerr's table
	}
	t.NumPartitions, t.ReplicationFactor = -1, -1
	t.Configs = []kmsg.CreateTopicsResponseTopicConfig{} // none, and not null, as in Kafka
	return t
}

func createdTopic(ts *metadata.TopicState, layers effective.Layers) kmsg.CreateTopicsResponseTopic {
	t := kmsg.NewCreateTopicsResponseTopic()
	t.Topic, t.TopicID = ts.Name, ts.ID
	t.NumPartitions, t.ReplicationFactor = ts.Partitions, ts.ReplicationFactor
	t.Configs = []kmsg.CreateTopicsResponseTopicConfig{}
	for _, e := range layers.DescribeTopic(ts.Configs) {
		c := kmsg.NewCreateTopicsResponseTopicConfig()
		c.Name, c.Value, c.Source = e.Name, e.Value, int8(e.Source)
		t.Configs = append(t.Configs, c)
	}
	return t
}
