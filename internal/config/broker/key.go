// Package brokerconfig is the table of Kafka's broker configs: names, types,
// defaults, which of them can be changed while a broker runs, and which of
// Karst's settings give them their static value.
package brokerconfig

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/karst-io/karst/internal/config"
	"github.com/karst-io/karst/internal/config/key"
	"github.com/karst-io/karst/internal/config/topic"
)

// Update says how a config is changed while brokers run.
type Update uint8

// The ways.
const (
	ReadOnly    Update = iota // not at all
	ClusterWide               // of a broker, or by default of all
	PerBroker                 // of a broker
	PerListener               // of a broker, with the prefix of a listener
)

// Key is one broker config.
type Key struct {
	configkey.Key
	Update Update
	// Hidden configs are shown only when they are set: those of throttles.
	Hidden bool
	// Setting is the value that Karst's settings give it; nil if none does.
	Setting func(c *config.Config) string
}

// null is the default of a config that has none.
const null = "\x00"

// Keys is the table, by name. The caller may change it.
func Keys() []Key {
	keys := slices.Concat(logKeys(), coordinatorKeys(), serviceKeys(), replicationKeys(), securityKeys(), remoteKeys(), throttleKeys())
	rules := map[string]configkey.Key{}
	for _, t := range topicconfig.Keys() {
		if len(t.Server) > 0 {
			rules[t.Server[0]] = t
		}
	}
	for i := range keys {
		k := &keys[i]
		if t, ok := rules[k.Name]; ok { // the default of a topic config obeys its rules
			k.Min, k.Max, k.OneOf, k.Check, k.Effect = t.Min, t.Max, t.OneOf, t.Check, t.Effect
		}
	}
	slices.SortFunc(keys, func(a, b Key) int { return strings.Compare(a.Name, b.Name) })
	return keys
}

func row(name string, kind configkey.Kind, def, doc string, u Update) Key {
	k := Key{Key: configkey.Key{Name: name, Kind: kind, Default: def, Doc: doc, Min: configkey.NoMin, Max: configkey.NoMax, Effect: configkey.Echoed}, Update: u}
	if def == null {
		k.Default, k.Null = "", true
	}
	return k
}

func fixed(name string, kind configkey.Kind, def, doc string) Key {
	return row(name, kind, def, doc, ReadOnly)
}

func dynamic(name string, kind configkey.Kind, def, doc string) Key {
	return row(name, kind, def, doc, ClusterWide)
}

func perBroker(name string, kind configkey.Kind, def, doc string) Key {
	return row(name, kind, def, doc, PerBroker)
}

func perListener(name string, kind configkey.Kind, def string) Key {
	return row(name, kind, def, plainText, PerListener)
}

func (k Key) atLeast(low float64) Key {
	k.Min = low
	return k
}

// checked says that a value must pass check, and is honoured.
func (k Key) checked(check func(string) string) Key {
	k.Check, k.Effect = check, configkey.Honoured
	return k
}

// from says that Karst has a setting for it: it is honoured.
func (k Key) from(setting func(c *config.Config) string) Key {
	k.Setting, k.Effect = setting, configkey.Honoured
	return k
}

// throttleKeys are the throttles that kafka-reassign-partitions sets and removes,
// and what else Kafka keeps to itself.
func throttleKeys() []Key {
	const idle = "Accepted and shown: nothing is replicated here."
	delay := fixed("log.initial.task.delay.ms", configkey.Long, "30000", idle)
	delay.Hidden = true
	keys := []Key{delay}
	for _, name := range []string{"leader.replication.throttled.rate", "follower.replication.throttled.rate", "replica.alter.log.dirs.io.max.bytes.per.second"} {
		k := dynamic(name, configkey.Long, "9223372036854775807", idle).atLeast(0)
		k.Hidden = true
		keys = append(keys, k)
	}
	return keys
}

// Static is what the settings say, where that is not Kafka's default.
func Static(c *config.Config) map[string]string {
	m := map[string]string{}
	for _, k := range Keys() {
		if k.Setting == nil {
			continue
		}
		if v := k.Setting(c); v != k.Default {
			m[k.Name] = v
		}
	}
	return m
}

func decimal[T ~int | ~int16 | ~int32 | ~int64](n T) string { return strconv.FormatInt(int64(n), 10) }

func millis(d time.Duration) string { return decimal(d.Milliseconds()) }

// retentionMS is "", the default, where log.retention.hours says the same.
func retentionMS(c *config.Config) string {
	if c.RetentionMS == 168*time.Hour.Milliseconds() {
		return ""
	}
	return decimal(c.RetentionMS)
}

// perIP is the default of Kafka where there is no bound.
func perIP(c *config.Config) string {
	if c.ConnectionsMaxPerIP == 0 {
		return "2147483647"
	}
	return decimal(c.ConnectionsMaxPerIP)
}
