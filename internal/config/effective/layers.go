// Package effective resolves a config through everything that may set it: the
// resource itself, the broker, the default of all brokers, Karst's settings,
// and the default of Apache Kafka.
package effective

import (
	"strconv"
	"strings"
	"sync"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/config/broker"
	"github.com/karst-io/karst/internal/config/group"
	"github.com/karst-io/karst/internal/config/key"
	"github.com/karst-io/karst/internal/config/telemetry"
	"github.com/karst-io/karst/internal/config/topic"
)

// Layers are what is set of the configs of one broker, by precedence. The maps
// are not changed.
type Layers struct {
	Broker  map[string]string // of this broker, while it ran
	Cluster map[string]string // of all brokers, while they ran
	Static  map[string]string // by this broker's settings
}

// tables are the tables, made once: they never change.
type tables struct {
	brokers []brokerconfig.Key // by name
	broker  map[string]*brokerconfig.Key
	topics  []configkey.Key
	topic   map[string]*configkey.Key
	groups  []configkey.Key
	metrics []configkey.Key
}

var table = sync.OnceValue(func() *tables {
	t := &tables{
		brokers: brokerconfig.Keys(), topics: topicconfig.Keys(), groups: groupconfig.Keys(), metrics: telemetryconfig.Keys(),
		broker: map[string]*brokerconfig.Key{}, topic: map[string]*configkey.Key{},
	}
	for i := range t.brokers {
		t.broker[t.brokers[i].Name] = &t.brokers[i]
	}
	for i := range t.topics {
		t.topic[t.topics[i].Name] = &t.topics[i]
	}
	return t
})

// synonyms are the configs that say the same as one in other units, it
// included, by precedence.
func synonyms(name string) []string {
	switch name {
	case "log.roll.ms", "log.roll.hours":
		return []string{"log.roll.ms", "log.roll.hours"}
	case "log.roll.jitter.ms", "log.roll.jitter.hours":
		return []string{"log.roll.jitter.ms", "log.roll.jitter.hours"}
	case "log.retention.ms", "log.retention.minutes", "log.retention.hours":
		return []string{"log.retention.ms", "log.retention.minutes", "log.retention.hours"}
	case "log.flush.interval.ms":
		return []string{"log.flush.interval.ms", "log.flush.scheduler.interval.ms"}
	}
	if base, ok := listenerBase(name); ok {
		return []string{name, base}
	}
	return []string{name}
}

// listenerBase is the config that one of a listener, such as
// listener.name.internal.ssl.keystore.type, overrides.
func listenerBase(name string) (string, bool) {
	rest, ok := strings.CutPrefix(name, "listener.name.")
	if !ok {
		return "", false
	}
	_, base, ok := strings.Cut(rest, ".")
	if !ok {
		return "", false
	}
	for _, perMechanism := range []string{"sasl.jaas.config", "sasl.login.callback.handler.class", "sasl.login.class", "sasl.server.callback.handler.class", "connections.max.reauth.ms"} {
		if strings.HasSuffix(base, perMechanism) {
			return perMechanism, true
		}
	}
	return base, true
}

// brokerKey finds the key of a broker config; that of a listener is of the kind
// of its base, and read-only.
func brokerKey(name string) (k brokerconfig.Key, known bool) {
	if k, ok := table().broker[name]; ok {
		return *k, true
	}
	if base, ok := listenerBase(name); ok {
		if b, ok := table().broker[base]; ok {
			k := *b
			k.Name, k.Default, k.Null, k.Update = name, "", true, brokerconfig.ReadOnly
			return k, true
		}
	}
	return brokerconfig.Key{Key: configkey.Key{Name: name, Null: true}}, false
}

// of are the layers, highest first.
func (l *Layers) of() [3]map[string]string {
	return [3]map[string]string{l.Broker, l.Cluster, l.Static}
}

// Get is the value of a broker config as it is in effect, "" where it is null.
func (l *Layers) Get(name string) string {
	k, known := brokerKey(name)
	for _, m := range l.of() {
		v, ok := m[name]
		if !ok {
			continue
		}
		if !known {
			return v
		}
		if printed, fault := k.Parse(v); fault == "" {
			return printed
		}
	}
	return k.Default
}

// Int is the value of a whole number; 0 where it is null.
func (l *Layers) Int(name string) int64 {
	n, _ := strconv.ParseInt(l.Get(name), 10, 64)
	return n
}

// Changed is a whole number that was set while the broker ran, for it or for all.
func (l *Layers) Changed(name string) (n int64, ok bool) {
	set := Layers{Broker: l.Broker, Cluster: l.Cluster}
	if _, ok = set.Broker[name]; !ok {
		_, ok = set.Cluster[name]
	}
	if ok {
		n = set.Int(name)
	}
	return n, ok
}

// TopicDefaults are the topic configs that the layers set.
func (l *Layers) TopicDefaults() map[string]string {
	m := map[string]string{}
	for i := range table().topics {
		k := &table().topics[i]
		if v, ok := l.server(k); ok {
			m[k.Name] = v
		}
	}
	return m
}

// server is what the layers set for a config of a topic or group.
func (l *Layers) server(k *configkey.Key) (string, bool) {
	for _, m := range l.of() {
		for _, name := range k.Server {
			v, ok := m[name]
			if !ok {
				continue
			}
			if printed, fault := k.Parse(inMillis(name, v)); fault == "" {
				return printed, true
			}
		}
	}
	return "", false
}

// inMillis converts what is in hours or minutes; negative ones have no unit.
func inMillis(name, v string) string {
	var unit int64
	switch {
	case strings.HasSuffix(name, ".hours"):
		unit = 3_600_000
	case strings.HasSuffix(name, ".minutes"):
		unit = 60_000
	default:
		return v
	}
	n, err := strconv.ParseInt(strings.TrimSpace(v), 10, 32)
	if err != nil || n < 0 {
		return v
	}
	return strconv.FormatInt(n*unit, 10)
}

// Topic is the typed view of a topic's configs.
func (l *Layers) Topic(explicit map[string]string) topicconfig.Topic {
	return topicconfig.Parse(l.over(explicit))
}

// over are a topic's explicit configs over what the layers set.
func (l *Layers) over(explicit map[string]string) map[string]string {
	m := l.TopicDefaults()
	for name, v := range explicit {
		if k := table().topic[name]; k != nil {
			if _, fault := k.Parse(v); fault != "" {
				continue // a newer broker stored it: the default counts
			}
		}
		m[name] = v
	}
	return m
}

// ValidateTopic checks a topic's explicit configs as Kafka does: each by itself,
// and together with what the layers set.
func (l *Layers) ValidateTopic(explicit map[string]string) error {
	if err := topicconfig.Validate(explicit); err != nil {
		return err
	}
	t := l.Topic(explicit)
	if t.MinCompactionLagMS > t.MaxCompactionLagMS {
		return karst.InvalidConfig.Errorf("conflict topic config setting %s (%d) > %s (%d)",
			topicconfig.MinCompactionLagMS, t.MinCompactionLagMS, topicconfig.MaxCompactionLagMS, t.MaxCompactionLagMS)
	}
	return nil
}

// ValidateGroup checks a group's explicit configs as Kafka does.
func (l *Layers) ValidateGroup(explicit map[string]string) error {
	return groupconfig.Validate(explicit, l.Get)
}
