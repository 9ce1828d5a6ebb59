package metadata

import (
	"maps"
	"slices"
	"testing"

	"github.com/karst-io/karst"
)

// Configs of groups, of client metrics and of brokers are apart, survive a
// snapshot, and only those of brokers and topics are told to listeners.
func TestConfigsOfNamedResources(t *testing.T) {
	img := NewImage(karst.ClusterID{1})
	set := func(r Resource, m map[string]string) *Delta {
		t.Helper()
		b := NewBatch(img)
		if err := b.Try(&SetConfigs{Resource: r, Configs: m}); err != nil {
			t.Fatal(err)
		}
		var d *Delta
		img, d = b.Finish(Position{Term: 1, Number: img.position.Number + 1}, 0)
		return d
	}
	all := []Resource{{Group: "x"}, {ClientMetrics: "x"}, {Broker: "x"}, {}}
	for n, r := range all {
		d := set(r, map[string]string{"k": string(rune('a' + n))})
		if want := r.Group == "" && r.ClientMetrics == ""; d.BrokerConfigs != want {
			t.Errorf("%+v: told %v", r, d.BrokerConfigs)
		}
	}
	back, err := DecodeSnapshot("s", img.cluster, EncodeSnapshot(img))
	if err != nil {
		t.Fatal(err)
	}
	for _, img := range []*Image{img, back} {
		for n, r := range all {
			if m, ok := img.ConfigsOf(r); !ok || !maps.Equal(m, map[string]string{"k": string(rune('a' + n))}) {
				t.Errorf("%+v has %v", r, m)
			}
		}
		if g, m := slices.Collect(img.ConfiguredGroups()), slices.Collect(img.ClientMetricsNames()); !slices.Equal(g, []string{"x"}) || !slices.Equal(m, g) {
			t.Errorf("groups %v, metrics %v", g, m)
		}
	}
	set(Resource{Group: "x"}, nil)
	if m := img.GroupConfigs("x"); m != nil || len(slices.Collect(img.ConfiguredGroups())) != 0 {
		t.Errorf("removed, still %v", m)
	}
	if _, ok := img.ConfigsOf(Resource{Topic: karst.TopicID{9}}); ok {
		t.Error("a topic that does not exist has configs")
	}
}
