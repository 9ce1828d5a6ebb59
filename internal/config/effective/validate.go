package effective

import (
	"maps"
	"slices"
	"strings"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/config/broker"
	"github.com/karst-io/karst/internal/config/key"
)

// ValidateBroker checks what is to be set of one broker, or of all (cluster),
// while they run, as Kafka does: what nobody knows is accepted, for plugins have
// configs of their own. Unlike Kafka it takes nothing about listeners, which would
// have no effect. The error is a *karst.Error of code InvalidRequest.
func (l *Layers) ValidateBroker(next map[string]string, cluster bool) error {
	var fixed, bare, ofOne []string
	for _, name := range slices.Sorted(maps.Keys(next)) {
		k, known := table().broker[name]
		base, ofListener := listenerBase(name)
		switch {
		case ofListener:
			if b := table().broker[base]; b == nil || b.Update != brokerconfig.ClusterWide {
				ofOne = append(ofOne, name)
			}
		case !known:
		case k.Update == brokerconfig.ReadOnly:
			fixed = append(fixed, name)
		case k.Update == brokerconfig.PerListener:
			bare = append(bare, name)
		case k.Update == brokerconfig.PerBroker:
			ofOne = append(ofOne, name)
		}
	}
	if err := refused("Cannot update these configs dynamically", fixed); err != nil {
		return err
	}
	if err := refused("These security configs can be dynamically updated only per-listener using the listener prefix", bare); err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(next)) {
		k, known := brokerKey(name)
		if !known {
			continue
		}
		if _, fault := k.Parse(next[name]); fault != "" {
			return karst.InvalidRequest.Errorf("%s", fault)
		}
	}
	why := "Listeners and their security are not changed while a broker runs"
	if cluster {
		why = "Cannot update these configs at default cluster level, broker id must be specified"
	}
	if err := refused(why, ofOne); err != nil {
		return err
	}
	return l.together(next, cluster)
}

func refused(why string, names []string) error {
	if names == nil {
		return nil
	}
	return karst.InvalidRequest.Errorf("%s: [%s]", why, strings.Join(names, ", "))
}

// together checks what one config alone cannot show.
func (l *Layers) together(next map[string]string, cluster bool) error {
	after := Layers{Broker: next, Cluster: l.Cluster, Static: l.Static}
	if cluster {
		after.Broker, after.Cluster = l.Broker, next
	}
	if after.Int("max.connections.per.ip") == 0 && after.Get("max.connections.per.ip.overrides") == "" {
		return karst.InvalidRequest.Errorf("requirement failed: max.connections.per.ip can be set to zero only if max.connections.per.ip.overrides property is set.")
	}
	return nil
}

// ListOf is the value a list of a broker has where none is set; an error if the
// config is no list, in Kafka's words for append or subtract.
func ListOf(name, verb string) (string, error) {
	k, known := brokerKey(name)
	switch {
	case !known:
		return "", karst.InvalidConfig.Errorf("Unknown config name: %s", name)
	case k.Kind != configkey.List:
		return "", karst.InvalidConfig.Errorf("Config value %s is not allowed for config key: %s", verb, name)
	}
	return k.Default, nil
}

// TopicListOf is ListOf for a config of a topic.
func TopicListOf(name, verb string) (string, error) {
	if k := table().topic[name]; k != nil && k.Kind == configkey.List {
		return k.Default, nil
	}
	return "", NotAList(name, verb)
}

// NotAList refuses to append or subtract, as Kafka does.
func NotAList(name, verb string) error {
	return karst.InvalidConfig.Errorf("Can't %s to key %s because its type is not LIST.", strings.ToUpper(verb), name)
}
