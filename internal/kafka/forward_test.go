package kafka

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/karst-io/karst"
)

// elsewhere is a controller that is another broker, unless here.
type elsewhere struct {
	*Server // that broker's
	here    bool
	err     error
	asked   []string
}

func (e *elsewhere) ForwardRequest(ctx context.Context, key, version int16, client string, body []byte) ([]byte, bool, error) {
	e.asked = append(e.asked, fmt.Sprintf("%d v%d of %s", key, version, client))
	if e.here || e.err != nil {
		return nil, false, e.err
	}
	answer, err := e.Execute(ctx, key, version, client, body)
	return answer, err == nil, err
}

// forwarding is a server whose controller is another one, on a cluster of its own.
func forwarding(t *testing.T) (h *harness, there *testCluster, e *elsewhere) {
	t.Helper()
	there = newTestCluster(t, 3)
	e = &elsewhere{Server: New(Config{Broker: 1}, there.deps())}
	h = start(t, Config{}, func(s *Server) { s.deps.Controller = e })
	return h, there, e
}

func creation(name string) *kmsg.CreateTopicsRequest {
	req := kmsg.NewPtrCreateTopicsRequest()
	topic := kmsg.NewCreateTopicsRequestTopic()
	topic.Topic, topic.NumPartitions, topic.ReplicationFactor = name, 1, 1
	req.Topics, req.TimeoutMillis = append(req.Topics, topic), 1000
	return req
}

// A request that changes metadata is executed where the controller is, in every
// version, and answered as it answers there.
func TestForward(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, there, e := forwarding(t)
		c := h.dial(t)
		for v := createTopicsAPI.Min; v <= createTopicsAPI.Max; v++ {
			name := fmt.Sprint("t", v)
			for n, code := range []int16{0, 36} { // it is there already
				resp := call[*kmsg.CreateTopicsResponse](t, c, v, creation(name))
				if len(resp.Topics) != 1 || resp.Topics[0].ErrorCode != code {
					t.Errorf("version %d, time %d: %+v", v, n, resp.Topics)
				}
			}
			if _, ok := there.Image().Topic(name); !ok {
				t.Errorf("version %d: the controller has no topic", v)
			}
			if _, ok := h.cluster.Image().Topic(name); ok {
				t.Errorf("version %d: it was executed here", v)
			}
			if want := fmt.Sprintf("19 v%d of test", v); e.asked[len(e.asked)-1] != want {
				t.Errorf("asked %s, want %s", e.asked[len(e.asked)-1], want)
			}
		}
		// Whoever is the controller executes it.
		e.here = true
		if resp := call[*kmsg.CreateTopicsResponse](t, c, 7, creation("here")); resp.Topics[0].ErrorCode != 0 {
			t.Errorf("%+v", resp.Topics)
		}
		if _, ok := h.cluster.Image().Topic("here"); !ok {
			t.Error("the controller did not execute it")
		}
		// What changes nothing is not forwarded.
		asked := len(e.asked)
		call[*kmsg.MetadataResponse](t, c, 12, kmsg.NewPtrMetadataRequest())
		call[*kmsg.DescribeClusterResponse](t, c, 0, kmsg.NewPtrDescribeClusterRequest())
		if len(e.asked) != asked {
			t.Errorf("asked %v", e.asked[asked:])
		}
	})
}

// An outcome that is not known is no answer: the connection ends.
func TestForwardUnknownOutcome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, _, e := forwarding(t)
		for _, err := range []error{karst.TimedOut.Errorf("no answer"), context.DeadlineExceeded, errors.New("reset")} {
			e.err = err
			c := h.dial(t)
			req := creation("t")
			req.SetVersion(5)
			write(t, c, encoded(1, req))
			closed(t, c)
		}
		if n := h.cluster.creates; n != 0 {
			t.Errorf("it was executed here as well, %d times", n)
		}
	})
}

// The level of a broker's log is its own affair, and what is of another broker is
// refused here; other configs are the controller's.
func TestForwardConfigs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, _, e := forwarding(t)
		c := h.dial(t)
		alter := func(kind kmsg.ConfigResourceType, resource, name, value string) int16 {
			req := kmsg.NewPtrIncrementalAlterConfigsRequest()
			r := kmsg.NewIncrementalAlterConfigsRequestResource()
			r.ResourceType, r.ResourceName = kind, resource
			r.Configs = append(r.Configs, kmsg.IncrementalAlterConfigsRequestResourceConfig{Name: name, Value: &value})
			req.Resources = append(req.Resources, r)
			resp := call[*kmsg.IncrementalAlterConfigsResponse](t, c, 1, req)
			return resp.Resources[0].ErrorCode
		}
		if code := alter(kmsg.ConfigResourceTypeBrokerLogger, "0", "root", "DEBUG"); code != 0 || h.cluster.level != "DEBUG" || len(e.asked) != 0 {
			t.Errorf("log level: code %d, level %q, asked %v", code, h.cluster.level, e.asked)
		}
		if code := alter(kmsg.ConfigResourceTypeBroker, "2", "message.max.bytes", "1000"); code == 0 || len(e.asked) != 0 {
			t.Errorf("another broker's: code %d, asked %v", code, e.asked)
		}
		if code := alter(kmsg.ConfigResourceTypeBroker, "", "message.max.bytes", "1000"); code != 0 || len(e.asked) != 1 {
			t.Errorf("of the cluster: code %d, asked %v", code, e.asked)
		}
	})
}

// What another broker sends is as hostile as what a client sends.
func TestExecuteRefuses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, Config{}, nil)
		whole := creation("t")
		whole.SetVersion(5)
		body := whole.AppendTo(nil)
		for _, c := range []struct {
			key, version int16
			body         []byte
			want         error
		}{
			{19, 5, body[:len(body)-1], karst.InvalidRequest.Err()},
			{19, 5, nil, karst.InvalidRequest.Err()},
			{19, 5, []byte{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, karst.InvalidRequest.Err()},
			{19, 99, body, karst.UnsupportedVersion.Err()},
			{19, -1, body, karst.UnsupportedVersion.Err()},
			{0, 9, nil, karst.UnsupportedVersion.Err()}, // Produce
			{3, 12, nil, karst.UnsupportedVersion.Err()},
			{999, 0, nil, karst.UnsupportedVersion.Err()},
		} {
			if got, err := h.Execute(t.Context(), c.key, c.version, "", c.body); !errors.Is(err, c.want) {
				t.Errorf("key %d version %d: %x, %v", c.key, c.version, got, err)
			}
		}
		if h.cluster.creates != 0 {
			t.Error("something was created")
		}
	})
}
