package broker

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/karst-io/karst/internal/coordinator/group"
)

// groupMetrics are the figures of the group coordinator. All counters are by this
// incarnation.
type groupMetrics struct {
	stats func() (group.Stats, bool) // false: no incarnation serves
	state *prometheus.Desc
	all   []groupMetric
}

type groupMetric struct {
	desc *prometheus.Desc
	kind prometheus.ValueType
	read func(s *group.Stats) float64
}

func newGroupMetrics(stats func() (group.Stats, bool)) *groupMetrics {
	desc := func(name, help string, labels ...string) *prometheus.Desc {
		return prometheus.NewDesc(prometheus.BuildFQName("karst", "", name), help, labels, nil)
	}
	gauge := func(name, help string, read func(s *group.Stats) float64) groupMetric {
		return groupMetric{desc(name, help), prometheus.GaugeValue, read}
	}
	counter := func(name, help string, read func(s *group.Stats) float64) groupMetric {
		return groupMetric{desc(name, help+", by this incarnation."), prometheus.CounterValue, read}
	}
	return &groupMetrics{
		stats: stats,
		state: desc("groups", "Groups that this broker coordinates, by state.", "state"),
		all: []groupMetric{
			gauge("group_members", "Members of these groups.", func(s *group.Stats) float64 { return float64(s.Groups.Members) }),
			gauge("group_offsets", "Committed offsets of these groups.", func(s *group.Stats) float64 { return float64(s.Groups.Offsets) }),
			gauge("group_partitions", "Partitions of __consumer_offsets that this broker leads.", func(s *group.Stats) float64 { return float64(s.Partitions) }),
			gauge("group_partitions_loading", "Of these, partitions whose groups are not loaded yet.", func(s *group.Stats) float64 { return float64(s.Loading) }),
			gauge("group_requests_waiting", "Requests about groups that wait for other members or for the store.", func(s *group.Stats) float64 { return float64(s.Calls) }),
			gauge("group_pending_bytes", "Records of groups that are not durable yet.", func(s *group.Stats) float64 { return float64(s.PendingBytes) }),
			counter("group_commits_total", "Offsets that clients asked to commit", func(s *group.Stats) float64 { return float64(s.Commits) }),
			counter("group_rebalances_total", "Rebalances completed", func(s *group.Stats) float64 { return float64(s.Groups.Rebalances) }),
			counter("group_records_total", "Records written to __consumer_offsets", func(s *group.Stats) float64 { return float64(s.Records) }),
			counter("group_batches_total", "Record batches that these records lie in", func(s *group.Stats) float64 { return float64(s.Batches) }),
			counter("group_loads_total", "Partitions loaded", func(s *group.Stats) float64 { return float64(s.Loads) }),
			counter("group_load_seconds_total", "Time that these loads took together", func(s *group.Stats) float64 { return s.LoadTime.Seconds() }),
			counter("group_loaded_records_total", "Records read by these loads", func(s *group.Stats) float64 { return float64(s.Loaded) }),
			counter("group_failures_total", "Loads that failed, and appends that were refused", func(s *group.Stats) float64 { return float64(s.Failures) }),
		},
	}
}

// Describe implements prometheus.Collector.
func (m *groupMetrics) Describe(ch chan<- *prometheus.Desc) {
	ch <- m.state
	for i := range m.all {
		ch <- m.all[i].desc
	}
}

// Collect implements prometheus.Collector.
func (m *groupMetrics) Collect(ch chan<- prometheus.Metric) {
	s, ok := m.stats()
	if !ok {
		return
	}
	for state, n := range map[string]int{
		"Empty": s.Groups.Empty, "PreparingRebalance": s.Groups.PreparingRebalance,
		"CompletingRebalance": s.Groups.CompletingRebalance, "Stable": s.Groups.Stable,
	} {
		ch <- prometheus.MustNewConstMetric(m.state, prometheus.GaugeValue, float64(n), state)
	}
	for i := range m.all {
		ch <- prometheus.MustNewConstMetric(m.all[i].desc, m.all[i].kind, m.all[i].read(&s))
	}
}
