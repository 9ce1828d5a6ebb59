package topicconfig

import (
	"maps"
	"slices"

	"github.com/karst-io/karst"
)

// Entry is one config of a topic, as it is in effect.
type Entry struct {
	Key
	Value    string // as Kafka prints it
	Explicit bool   // set on the topic
}

// Effective lists every topic config with the value in effect, by name. Values
// that do not parse are shown as they are.
func Effective(explicit map[string]string) []Entry {
	keys := Keys()
	all := make([]Entry, 0, len(keys))
	for _, k := range keys {
		e := Entry{Key: k, Value: k.Default}
		if v, ok := explicit[k.Name]; ok {
			e.Value, e.Explicit = v, true
			if printed, fault := k.Parse(v); fault == "" {
				e.Value = printed
			}
		}
		all = append(all, e)
	}
	return all
}

// Validate checks explicit configs as Kafka does. The error is a *karst.Error of
// code InvalidConfig that names the first bad config, in name order.
func Validate(explicit map[string]string) error {
	byName := map[string]Key{}
	for _, k := range Keys() {
		byName[k.Name] = k
	}
	for _, name := range slices.Sorted(maps.Keys(explicit)) {
		k, ok := byName[name]
		if !ok {
			return karst.InvalidConfig.Errorf("Unknown topic config name: %s", name)
		}
		if _, fault := k.Parse(explicit[name]); fault != "" {
			return karst.InvalidConfig.Errorf("%s", fault)
		}
	}
	if t := Parse(explicit); t.MinCompactionLagMS > t.MaxCompactionLagMS {
		return karst.InvalidConfig.Errorf("conflict topic config setting %s (%d) > %s (%d)",
			MinCompactionLagMS, t.MinCompactionLagMS, MaxCompactionLagMS, t.MaxCompactionLagMS)
	}
	return nil
}
