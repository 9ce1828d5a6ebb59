package broker

import (
	"cmp"
	"context"
	"log/slog"
	"net"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/cluster/controller"
	"github.com/karst-io/karst/internal/config/broker"
	"github.com/karst-io/karst/internal/config/effective"
	"github.com/karst-io/karst/internal/config/telemetry"
	"github.com/karst-io/karst/internal/config/topic"
	"github.com/karst-io/karst/internal/metadata"
)

// configs are the configs of this broker, as the listener sees them
// (kafka.Configs) and as the log obeys them.
type configs struct {
	id         atomic.Pointer[string] // of this broker, in decimal
	static     map[string]string      // what its settings say
	level      *slog.LevelVar
	log        *slog.Logger
	controller *controller.Controller
}

// newConfigs is called when the listeners' addresses are known and the controller
// is not there yet.
func (b *Broker) newConfigs(at *bound) *configs {
	static := brokerconfig.Static(&b.cfg)
	var listen, told []string
	for n, l := range at.clients {
		name := cmp.Or(at.names[n], "PLAINTEXT")
		host, port := b.self.At(at.names[n])
		listen = append(listen, name+"://"+l.Addr().String())
		told = append(told, name+"://"+net.JoinHostPort(host, strconv.Itoa(int(port))))
	}
	static["listeners"], static["advertised.listeners"] = strings.Join(listen, ","), strings.Join(told, ",")
	level := b.options.LogLevel
	if level == nil {
		level = new(slog.LevelVar)
	}
	c := &configs{static: static, level: level, log: b.log}
	c.identify(b.cfg.BrokerID)
	return c
}

// identify says which broker's configs these are: a broker may be told its id.
func (c *configs) identify(id karst.BrokerID) {
	name := strconv.Itoa(int(id))
	if was := c.id.Swap(&name); was == nil || *was != name { // before anybody is served
		c.static["broker.id"], c.static["node.id"] = name, name
	}
}

// Layers are what is set of this broker's configs (kafka.Configs).
func (c *configs) Layers(img *metadata.Image) effective.Layers {
	return effective.Layers{Broker: img.BrokerConfigs(*c.id.Load()), Cluster: img.BrokerConfigs(""), Static: c.static}
}

// SetConfigs changes the explicit configs of a resource (kafka.Configs).
func (c *configs) SetConfigs(ctx context.Context, r metadata.Resource, changes []controller.ConfigChange, replace, validateOnly bool) error {
	err := c.controller.SetConfigs(ctx, r, changes, replace, validateOnly)
	if err == nil && !validateOnly && len(changes) > 0 { // values may be secrets
		c.log.Info("configs changed", "of", nameOf(r), "first", changes[0].Name, "count", len(changes), "all", replace)
	}
	return err
}

func nameOf(r metadata.Resource) string {
	switch {
	case !r.Topic.IsZero():
		return "topic " + r.Topic.String()
	case r.Group != "":
		return "group " + r.Group
	case r.ClientMetrics != "":
		return "client metrics " + r.ClientMetrics
	case r.Broker != "":
		return "broker " + r.Broker
	}
	return "all brokers"
}

// logLevels are log4j's.
var logLevels = []struct {
	name  string
	level slog.Level
}{
	{"TRACE", slog.LevelDebug - 4},
	{"DEBUG", slog.LevelDebug},
	{"INFO", slog.LevelInfo},
	{"WARN", slog.LevelWarn},
	{"ERROR", slog.LevelError},
	{"FATAL", slog.LevelError + 4},
}

// LogLevel is the level of the one logger there is, as log4j calls it (kafka.Configs).
func (c *configs) LogLevel() string {
	for _, l := range logLevels {
		if c.level.Level() <= l.level {
			return l.name
		}
	}
	return "OFF"
}

// SetLogLevel changes it, until the process ends (kafka.Configs).
func (c *configs) SetLogLevel(name string) {
	for _, l := range logLevels {
		if l.name == name {
			c.level.Set(l.level)
			c.log.Info("log level changed", "to", name)
		}
	}
}

// validate checks what the explicit configs of a resource are to be
// (controller.Config).
func (c *configs) validate(img *metadata.Image, r metadata.Resource, next map[string]string) error {
	l := c.Layers(img)
	switch {
	case !r.Topic.IsZero():
		return l.ValidateTopic(next)
	case r.Group != "":
		return l.ValidateGroup(next)
	case r.ClientMetrics != "":
		return telemetryconfig.Validate(next)
	case r.Broker == "":
		return l.ValidateBroker(next, true)
	default:
		l.Broker = img.BrokerConfigs(r.Broker) // of another broker its settings are not known
		return l.ValidateBroker(next, false)
	}
}

// list says what a list is that is not set (controller.Config).
func (*configs) list(r metadata.Resource, name, verb string) (string, error) {
	switch {
	case !r.Topic.IsZero():
		return effective.TopicListOf(name, verb)
	case r.Group != "" || r.ClientMetrics != "":
		return "", effective.NotAList(name, verb)
	default:
		return effective.ListOf(name, verb)
	}
}

// producerExpiry is how long an idle producer is remembered; an incarnation asks
// when it begins.
func (c *configs) producerExpiry(img *metadata.Image) time.Duration {
	l := c.Layers(img)
	return time.Duration(l.Int("producer.id.expiration.ms")) * time.Millisecond
}

// topicOf is a topic's typed configs, as of an image.
func (c *configs) topicOf(img *metadata.Image, t *metadata.TopicState) topicconfig.Topic {
	l := c.Layers(img)
	return l.Topic(t.Configs)
}
