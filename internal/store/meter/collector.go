package meter

import (
	"github.com/prometheus/client_golang/prometheus"

	"github.com/karst-io/karst/internal/store"
)

var (
	labels       = []string{"op", "caller", "outcome"}
	requestsDesc = prometheus.NewDesc("karst_store_requests_total", "Requests to the store.", labels, nil)
	bytesDesc    = prometheus.NewDesc("karst_store_bytes_total", "Bytes sent to and received from the store.", labels, nil)
	costDesc     = prometheus.NewDesc("karst_store_cost_puts_total", "Price of all requests, in PUTs.", nil, nil)
)

// Describe implements prometheus.Collector.
func (s *Store) Describe(ch chan<- *prometheus.Desc) {
	ch <- requestsDesc
	ch <- bytesDesc
	ch <- costDesc
	s.seconds.Describe(ch)
}

// Collect implements prometheus.Collector. Series that are zero are left out.
func (s *Store) Collect(ch chan<- prometheus.Metric) {
	snap := s.Snapshot()
	for o := range snap {
		for c := range snap[o] {
			for r, n := range snap[o][c] {
				if n.Requests == 0 {
					continue
				}
				l := []string{store.Op(o).String(), store.Caller(c).String(), Outcome(r).String()}
				ch <- prometheus.MustNewConstMetric(requestsDesc, prometheus.CounterValue, float64(n.Requests), l...)
				ch <- prometheus.MustNewConstMetric(bytesDesc, prometheus.CounterValue, float64(n.Bytes), l...)
			}
		}
	}
	ch <- prometheus.MustNewConstMetric(costDesc, prometheus.CounterValue, snap.Cost())
	s.seconds.Collect(ch)
}
