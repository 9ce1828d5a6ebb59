package effective

import (
	"maps"
	"slices"

	"github.com/karst-io/karst/internal/config/broker"
	"github.com/karst-io/karst/internal/config/key"
)

// Source is where a value comes from, numbered as in Kafka's protocol.
type Source int8

// The sources.
const (
	FromTopic         Source = 1
	FromBroker        Source = 2
	FromCluster       Source = 3
	FromSettings      Source = 4
	FromDefault       Source = 5
	FromLogger        Source = 6
	FromClientMetrics Source = 7
	FromGroup         Source = 8
)

// Synonym is one place that says what a config is.
type Synonym struct {
	Name   string
	Value  *string // nil if it is secret
	Source Source
}

// Entry is one config as it is described.
type Entry struct {
	Name      string
	Value     *string // nil if there is none, or it is secret
	Source    Source
	ReadOnly  bool
	Sensitive bool
	Kind      configkey.Kind
	Doc       string
	Synonyms  []Synonym // by precedence
}

// source is that of the first synonym.
func (e *Entry) source() {
	e.Source = FromDefault
	if len(e.Synonyms) > 0 {
		e.Source = e.Synonyms[0].Source
	}
}

// synonymsOf lists what is said of a broker config. Synonyms in other units that
// come before the config itself are left out, and so it is without those that
// come after if nothing is said of the config itself: as Kafka does it.
func (l *Layers) synonymsOf(name string, sensitive bool) []Synonym {
	var all []Synonym
	add := func(name, v string, from Source) {
		s := Synonym{Name: name, Source: from}
		if !sensitive {
			s.Value = &v
		}
		all = append(all, s)
	}
	names := synonyms(name)
	for n, m := range l.of() {
		for _, name := range names {
			if v, ok := m[name]; ok {
				add(name, v, FromBroker+Source(n))
			}
		}
	}
	for _, name := range names {
		if k, known := brokerKey(name); known && !k.Null && !k.Hidden {
			add(name, k.Default, FromDefault)
		}
	}
	for len(all) > 0 && all[0].Name != name {
		all = all[1:]
	}
	return all
}

// DescribeTopic lists every topic config as it is in effect over a topic's
// explicit ones, by name.
func (l *Layers) DescribeTopic(explicit map[string]string) []Entry {
	all := make([]Entry, 0, len(table().topics))
	for i := range table().topics {
		k := &table().topics[i]
		e := l.resource(k, explicit, FromTopic)
		e.source()
		all = append(all, e)
	}
	return all
}

// DescribeGroup lists every group config as it is in effect over a group's
// explicit ones, by name.
func (l *Layers) DescribeGroup(explicit map[string]string) []Entry {
	all := make([]Entry, 0, len(table().groups))
	for i := range table().groups {
		k := &table().groups[i]
		e := l.resource(k, explicit, FromGroup)
		if len(k.Server) == 0 {
			e.Synonyms = append(e.Synonyms, Synonym{Name: k.Name, Value: &k.Default, Source: FromDefault})
		}
		e.source()
		all = append(all, e)
	}
	return all
}

// DescribeClientMetrics lists the configs of a subscription, by name.
func DescribeClientMetrics(explicit map[string]string) []Entry {
	var none Layers
	all := make([]Entry, 0, len(table().metrics))
	for i := range table().metrics {
		e := none.resource(&table().metrics[i], explicit, FromClientMetrics)
		e.source()
		all = append(all, e)
	}
	return all
}

// resource is a config of something that is no broker.
func (l *Layers) resource(k *configkey.Key, explicit map[string]string, from Source) Entry {
	e := Entry{Name: k.Name, Kind: k.Kind, Doc: k.Doc, Sensitive: k.Sensitive()}
	value := k.Default
	if v, ok := l.server(k); ok {
		value = v
	}
	v, isSet := explicit[k.Name]
	if isSet {
		value = v
		if printed, fault := k.Parse(v); fault == "" {
			value = printed
		}
		e.Synonyms = append(e.Synonyms, Synonym{Name: k.Name, Value: &value, Source: from})
	}
	if len(k.Server) > 0 {
		e.Synonyms = append(e.Synonyms, l.synonymsOf(k.Server[0], e.Sensitive)...)
	}
	e.Value = &value
	return e
}

// DescribeBroker lists every broker config as it is in effect, by name, and what
// is set besides.
func (l *Layers) DescribeBroker() []Entry {
	names := map[string]bool{}
	for i := range table().brokers {
		if k := &table().brokers[i]; !k.Hidden {
			names[k.Name] = true
		}
	}
	for _, m := range l.of() {
		for name := range m {
			names[name] = true
		}
	}
	all := make([]Entry, 0, len(names))
	for _, name := range slices.Sorted(maps.Keys(names)) {
		e, k := l.broker(name)
		isSet := false
		for _, m := range l.of() {
			_, ok := m[name]
			isSet = isSet || ok
		}
		if v := l.Get(name); !e.Sensitive && (isSet || !k.Null) {
			e.Value = &v
		}
		e.Synonyms = l.synonymsOf(name, e.Sensitive)
		e.source()
		all = append(all, e)
	}
	return all
}

// DescribeCluster lists what is set of all brokers while they ran, by name.
func (l *Layers) DescribeCluster() []Entry {
	all := make([]Entry, 0, len(l.Cluster))
	for _, name := range slices.Sorted(maps.Keys(l.Cluster)) {
		e, _ := l.broker(name)
		if v := l.Cluster[name]; !e.Sensitive {
			e.Value = &v
		}
		for _, s := range l.synonymsOf(name, e.Sensitive) {
			if s.Source == FromCluster {
				e.Synonyms = append(e.Synonyms, s)
			}
		}
		e.source()
		all = append(all, e)
	}
	return all
}

func (l *Layers) broker(name string) (Entry, brokerconfig.Key) {
	k, known := brokerKey(name)
	e := Entry{Name: name, Kind: k.Kind, Doc: k.Doc, Sensitive: k.Sensitive(), ReadOnly: !known || k.Update == brokerconfig.ReadOnly}
	return e, k
}
