package kafka

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/cluster/controller"
	"github.com/karst-io/karst/internal/config/effective"
	"github.com/karst-io/karst/internal/metadata"
)

// Configs knows and changes configs. It is called concurrently.
type Configs interface {
	// Layers are what is set of this broker's configs, as of an image.
	Layers(img *metadata.Image) effective.Layers
	// SetConfigs changes the explicit configs of a resource, all or none. It
	// returns when the change is durable and shown by Images; its errors are
	// *karst.Error, or the context's: then the outcome is unknown.
	SetConfigs(ctx context.Context, r metadata.Resource, changes []controller.ConfigChange, replace, validateOnly bool) error
	// LogLevel is the level of this broker's log, as log4j calls it; SetLogLevel
	// changes it, for as long as the broker runs.
	LogLevel() string
	SetLogLevel(level string)
}

// forwardConfigs forwards changes of configs, but for those of a broker's log,
// which are nobody else's, and those that name another broker, which are refused.
func forwardConfigs(s *Server, r kmsg.Request) bool {
	ours := func(kind kmsg.ConfigResourceType, name string) bool {
		return kind != kmsg.ConfigResourceTypeBrokerLogger && (kind != kmsg.ConfigResourceTypeBroker || name == "" || s.isSelf(name) == nil)
	}
	switch r := r.(type) {
	case *kmsg.AlterConfigsRequest:
		return !slices.ContainsFunc(r.Resources, func(x kmsg.AlterConfigsRequestResource) bool { return !ours(x.ResourceType, x.ResourceName) })
	case *kmsg.IncrementalAlterConfigsRequest:
		return !slices.ContainsFunc(r.Resources, func(x kmsg.IncrementalAlterConfigsRequestResource) bool { return !ours(x.ResourceType, x.ResourceName) })
	}
	return false
}

// configAPIs are the APIs about configs.
func configAPIs() []API {
	return []API{describeConfigsAPI, alterConfigsAPI, incrementalAlterConfigsAPI, listConfigResourcesAPI}
}

const (
	// configsTimeout bounds a change of configs: its request has no timeout.
	configsTimeout = 30 * time.Second
	// rootLogger is the one logger there is, by log4j's name.
	rootLogger = "root"
)

// nowhere is the id that Kafka reserves for its metadata: no topic has it.
var nowhere = karst.TopicID{15: 1}

// alteration is one resource whose configs a request changes.
type alteration struct {
	kind    kmsg.ConfigResourceType
	name    string
	changes []controller.ConfigChange
	nulls   []string // configs that are set to nothing
	err     error    // what is wrong, or became of it
	// forwarded: another broker executes it, as the controller.
	forwarded bool
}

type resourceName struct {
	kind kmsg.ConfigResourceType
	name string
}

// alter makes the changes of a request, each resource by itself, and leaves what
// became of them in err.
func (s *Server) alter(ctx context.Context, all []alteration, replace, validateOnly bool) {
	ctx, cancel := context.WithTimeout(ctx, configsTimeout)
	defer cancel()
	count := map[resourceName]int{}
	for _, a := range all {
		count[resourceName{a.kind, a.name}]++
	}
	concurrently(len(all), func(i int) {
		a := &all[i]
		switch {
		case count[resourceName{a.kind, a.name}] > 1:
			a.err = karst.InvalidRequest.Errorf("Each resource must appear at most once.")
		case len(repeated(a.changes, func(c controller.ConfigChange) string { return c.Name })) > 0:
			a.err = karst.InvalidRequest.Errorf("Error due to duplicate config keys")
		case len(a.nulls) > 0:
			a.err = karst.InvalidRequest.Errorf("Null value not supported for : %s", strings.Join(a.nulls, ", "))
		case a.err == nil:
			a.err = s.alterOne(ctx, a, replace, validateOnly)
		}
	})
}

func (s *Server) alterOne(ctx context.Context, a *alteration, replace, validateOnly bool) error {
	if a.kind == kmsg.ConfigResourceTypeBrokerLogger && !replace { // the old API does not know loggers
		return s.alterLogger(a, validateOnly)
	}
	r, err := s.resource(a.kind, a.name)
	if a.forwarded && a.kind == kmsg.ConfigResourceTypeBroker { // whose affair it is has been checked
		r, err = metadata.Resource{Broker: brokerName(a.name)}, nil
	}
	if err != nil {
		return err
	}
	err = s.deps.Configs.SetConfigs(ctx, r, a.changes, replace, validateOnly)
	if a.kind == kmsg.ConfigResourceTypeTopic && errors.Is(err, karst.UnknownTopicID.Err()) {
		return karst.UnknownTopic.Errorf("The topic '%s' does not exist.", a.name)
	}
	return err
}

// resource is what a request names; a topic that does not exist is nowhere.
func (s *Server) resource(kind kmsg.ConfigResourceType, name string) (metadata.Resource, error) {
	var none metadata.Resource
	switch kind {
	case kmsg.ConfigResourceTypeTopic:
		if name == "" {
			return none, karst.InvalidRequest.Errorf("Default topic resources are not allowed.")
		}
		if err := checkTopicName(name); err != nil {
			return none, err
		}
		if t, ok := s.deps.Images.Image().Topic(name); ok {
			return metadata.Resource{Topic: t.ID}, nil
		}
		return metadata.Resource{Topic: nowhere}, nil
	case kmsg.ConfigResourceTypeBroker:
		if name == "" {
			return none, nil
		}
		return metadata.Resource{Broker: strconv.Itoa(int(s.cfg.Broker))}, s.isSelf(name)
	case kmsg.ConfigResourceTypeClientMetrics:
		if name == "" {
			return none, karst.InvalidRequest.Errorf("Subscription name can't be empty")
		}
		return metadata.Resource{ClientMetrics: name}, nil
	case kmsg.ConfigResourceTypeGroupConfig:
		if name == "" {
			return none, karst.InvalidRequest.Errorf("Default group resources are not allowed.")
		}
		return metadata.Resource{Group: name}, nil
	default:
		return none, karst.InvalidRequest.Errorf("Unknown resource type %d", kind)
	}
}

// brokerName is a broker id as it is written in decimal.
func brokerName(name string) string {
	id, err := strconv.ParseInt(name, 10, 32)
	if err != nil {
		return name
	}
	return strconv.FormatInt(id, 10)
}

// isSelf refuses the name of another broker: its configs are its own affair.
func (s *Server) isSelf(name string) error {
	id, err := strconv.ParseInt(name, 10, 32)
	switch {
	case err != nil:
		return karst.InvalidRequest.Errorf("Node id must be an integer, but it is: %s", name)
	case karst.BrokerID(id) != s.cfg.Broker:
		return karst.InvalidRequest.Errorf("Unexpected broker id, expected %d, but received %s", s.cfg.Broker, name)
	}
	return nil
}

// alterLogger changes the level of the log, which is not kept.
func (s *Server) alterLogger(a *alteration, validateOnly bool) error {
	id, err := strconv.ParseInt(a.name, 10, 32)
	switch {
	case err != nil:
		return karst.InvalidRequest.Errorf("Node id must be an integer, but it is: %s", a.name)
	case karst.BrokerID(id) != s.cfg.Broker:
		return karst.InvalidRequest.Errorf("Unexpected node id. Expected %d, but received %d", s.cfg.Broker, id)
	}
	for _, c := range a.changes {
		if err := checkLogger(c); err != nil {
			return err
		}
	}
	for _, c := range a.changes {
		if !validateOnly {
			s.deps.Configs.SetLogLevel(*c.Value)
		}
	}
	return nil
}

// logLevels are log4j's, in the order in which Kafka lists them.
const logLevels = "DEBUG, ERROR, FATAL, INFO, TRACE, WARN"

func checkLogger(c controller.ConfigChange) error {
	switch {
	case c.Op != controller.ConfigSet:
		return karst.InvalidRequest.Errorf("%s operation is not allowed for the BROKER_LOGGER resource", strings.ToUpper(c.Op.String()))
	case c.Name != rootLogger:
		return karst.InvalidConfig.Errorf("Logger %s does not exist!", c.Name)
	case c.Value == nil:
		return karst.InvalidRequest.Errorf("Removing the log level of the %s logger is not allowed", rootLogger)
	case !slices.Contains(strings.Split(logLevels, ", "), *c.Value):
		return karst.InvalidConfig.Errorf("Cannot set the log level of %s to %s as it is not a supported log level. Valid log levels are %s",
			c.Name, *c.Value, logLevels)
	}
	return nil
}
