package kafka

import (
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/karst-io/karst/internal/metadata"
)

const (
	ofTopic   = kmsg.ConfigResourceTypeTopic
	ofBroker  = kmsg.ConfigResourceTypeBroker
	ofLogger  = kmsg.ConfigResourceTypeBrokerLogger
	ofMetrics = kmsg.ConfigResourceTypeClientMetrics
	ofGroup   = kmsg.ConfigResourceTypeGroupConfig
)

// describe asks for configs of one resource; names nil for all.
func describe(t *testing.T, c net.Conn, version int16, kind kmsg.ConfigResourceType, name string, names ...string) kmsg.DescribeConfigsResponseResource {
	t.Helper()
	req := kmsg.NewPtrDescribeConfigsRequest()
	r := kmsg.NewDescribeConfigsRequestResource()
	r.ResourceType, r.ResourceName, r.ConfigNames = kind, name, names
	req.Resources = append(req.Resources, r)
	req.IncludeSynonyms, req.IncludeDocumentation = true, true
	return call[*kmsg.DescribeConfigsResponse](t, c, version, req).Resources[0]
}

// change is "name=value", "-name", "name+=value" or "name-=value".
func change(s string) kmsg.IncrementalAlterConfigsRequestResourceConfig {
	c := kmsg.NewIncrementalAlterConfigsRequestResourceConfig()
	name, value, _ := strings.Cut(s, "=")
	c.Value = &value
	switch {
	case name[0] == '-':
		c.Op, c.Value, name = kmsg.IncrementalAlterConfigOpDelete, nil, name[1:]
	case strings.HasSuffix(name, "+"):
		c.Op = kmsg.IncrementalAlterConfigOpAppend
	case strings.HasSuffix(name, "-"):
		c.Op = kmsg.IncrementalAlterConfigOpSubtract
	case value == "null":
		c.Value = nil
	}
	c.Name = strings.TrimRight(name, "+-")
	return c
}

// alter changes one resource, and says which error that was.
func alter(t *testing.T, c net.Conn, validateOnly bool, kind kmsg.ConfigResourceType, name string, changes ...string) string {
	t.Helper()
	req := kmsg.NewPtrIncrementalAlterConfigsRequest()
	req.ValidateOnly = validateOnly
	r := kmsg.NewIncrementalAlterConfigsRequestResource()
	r.ResourceType, r.ResourceName = kind, name
	for _, s := range changes {
		r.Configs = append(r.Configs, change(s))
	}
	req.Resources = append(req.Resources, r)
	done := call[*kmsg.IncrementalAlterConfigsResponse](t, c, 1, req).Resources[0]
	if done.ResourceType != kind || done.ResourceName != name {
		t.Errorf("asked about %v %q, answered about %v %q", kind, name, done.ResourceType, done.ResourceName)
	}
	return verdict(done.ErrorCode, done.ErrorMessage)
}

func verdict(code int16, message *string) string {
	switch {
	case code == 0 && (message == nil || *message == ""):
		return "done"
	case code == 0 || message == nil:
		return fmt.Sprint(kerr.ErrorForCode(code))
	}
	return kerr.ErrorForCode(code).(*kerr.Error).Message + ": " + *message //nolint:errorlint // it comes from kerr's table
}

func TestDescribeConfigs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, Config{}, nil)
		h.cluster.level = "WARN"
		h.topic(t, "t", 1)
		c := h.dial(t)
		for _, want := range []struct {
			kind  kmsg.ConfigResourceType
			name  string
			least int // configs shown
			fault string
		}{
			{ofTopic, "t", 30, ""},
			{ofTopic, "none", 0, "UNKNOWN_TOPIC_OR_PARTITION: "},
			{ofTopic, "a b", 0, "INVALID_TOPIC_EXCEPTION: Topic name is invalid: 'a b' contains"},
			{ofBroker, "0", 300, ""},
			{ofBroker, "", 0, ""},
			{ofBroker, "1", 0, "INVALID_REQUEST: Unexpected broker id, expected 0 or empty string, but received 1"},
			{ofBroker, "x", 0, "INVALID_REQUEST: Broker id must be an integer, but it is: x"},
			{ofLogger, "0", 1, ""},
			{ofLogger, "1", 0, "INVALID_REQUEST: Unexpected broker id, expected 0 but received 1"},
			{ofLogger, "", 0, "INVALID_REQUEST: Broker id must not be empty"},
			{ofGroup, "g", 15, ""},
			{ofGroup, "", 0, "INVALID_REQUEST: Group name must not be empty"},
			{ofMetrics, "m", 3, ""},
			{ofMetrics, "", 0, "INVALID_REQUEST: Client metrics subscription name must not be empty"},
			{64, "x", 0, "INVALID_REQUEST: "},
		} {
			got := describe(t, c, 4, want.kind, want.name)
			if fault := verdict(got.ErrorCode, got.ErrorMessage); got.ErrorCode != 0 && (want.fault == "" || !strings.HasPrefix(fault, want.fault)) || (got.ErrorCode == 0) != (want.fault == "") {
				t.Errorf("%v %q: %s, want %q", want.kind, want.name, fault, want.fault)
			}
			if len(got.Configs) < want.least || want.least == 0 && len(got.Configs) > 0 {
				t.Errorf("%v %q: %d configs", want.kind, want.name, len(got.Configs))
			}
		}
		if got := describe(t, c, 4, ofLogger, "0").Configs[0]; got.Name != "root" || *got.Value != "WARN" || got.Source != kmsg.ConfigSourceDynamicBrokerLoggerConfig {
			t.Errorf("logger: %+v", got)
		}
		for version := int16(1); version <= 4; version++ {
			got := describe(t, c, version, ofTopic, "t", "retention.ms", "no.such").Configs
			if len(got) != 1 || got[0].Name != "retention.ms" || *got[0].Value != "604800000" || got[0].Source != kmsg.ConfigSourceDefaultConfig {
				t.Errorf("v%d: %+v", version, got)
			}
			if since3 := version >= 3; (got[0].ConfigType == kmsg.ConfigTypeLong) != since3 || (got[0].Documentation != nil) != since3 {
				t.Errorf("v%d: type %v, documentation %v", version, got[0].ConfigType, got[0].Documentation)
			}
		}
	})
}

// TestDescribeConfigsIsBounded asks for more than an answer may have.
func TestDescribeConfigsIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, Config{}, nil)
		req := kmsg.NewPtrDescribeConfigsRequest()
		for range 2000 {
			r := kmsg.NewDescribeConfigsRequestResource()
			r.ResourceType, r.ResourceName, r.ConfigNames = ofBroker, "0", []string{"none of them"} // which is as much work
			req.Resources = append(req.Resources, r)
		}
		resp := call[*kmsg.DescribeConfigsResponse](t, h.dial(t), 1, req)
		first := slices.IndexFunc(resp.Resources, func(r kmsg.DescribeConfigsResponseResource) bool { return r.ErrorCode != 0 })
		if first < describedMax/500 || first > describedMax/300 || resp.Resources[1999].ErrorCode != kerr.PolicyViolation.Code {
			t.Errorf("refused from the resource %d on, the last one with %d", first, resp.Resources[1999].ErrorCode)
		}
	})
}

func TestIncrementalAlterConfigs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, Config{}, nil)
		h.topic(t, "t", 1)
		c := h.dial(t)
		for _, s := range []struct {
			kind    kmsg.ConfigResourceType
			name    string
			changes []string
			want    string
		}{
			{ofTopic, "t", []string{"retention.ms=5", "cleanup.policy=delete"}, "done"},
			{ofTopic, "t", []string{"cleanup.policy+=compact", "-retention.ms"}, "done"},
			{ofTopic, "t", []string{"cleanup.policy-=compact"}, "INVALID_CONFIG: no list"},
			{ofTopic, "t", []string{"a=1", "a=2"}, "INVALID_REQUEST: Error due to duplicate config keys"},
			{ofTopic, "t", []string{"a=null", "b=null"}, "INVALID_REQUEST: Null value not supported for : a, b"},
			{ofTopic, "none", []string{"a=1"}, "UNKNOWN_TOPIC_OR_PARTITION: The topic 'none' does not exist."},
			{ofTopic, "", nil, "INVALID_REQUEST: Default topic resources are not allowed."},
			{ofTopic, ".", nil, "INVALID_TOPIC_EXCEPTION: Topic name is invalid: '.' is not allowed"},
			{ofBroker, "", []string{"log.retention.ms=7"}, "done"},
			{ofBroker, "0", []string{"log.retention.ms=8"}, "done"},
			{ofBroker, "1", nil, "INVALID_REQUEST: Unexpected broker id, expected 0, but received 1"},
			{ofBroker, "x", nil, "INVALID_REQUEST: Node id must be an integer, but it is: x"},
			{ofGroup, "g", []string{"consumer.session.timeout.ms=50000"}, "done"},
			{ofGroup, "", nil, "INVALID_REQUEST: Default group resources are not allowed."},
			{ofMetrics, "m", []string{"interval.ms=1000"}, "done"},
			{ofMetrics, "", nil, "INVALID_REQUEST: Subscription name can't be empty"},
			{64, "x", nil, "INVALID_REQUEST: Unknown resource type 64"},
			{ofLogger, "0", []string{"root=DEBUG"}, "done"},
			{ofLogger, "0", []string{"root=LOUD"}, "INVALID_CONFIG: Cannot set the log level of root to LOUD as it is not a supported log level. Valid log levels are DEBUG, ERROR, FATAL, INFO, TRACE, WARN"},
			{ofLogger, "0", []string{"other=INFO"}, "INVALID_CONFIG: Logger other does not exist!"},
			{ofLogger, "0", []string{"-root"}, "INVALID_REQUEST: Removing the log level of the root logger is not allowed"},
			{ofLogger, "0", []string{"root+=INFO"}, "INVALID_REQUEST: APPEND operation is not allowed for the BROKER_LOGGER resource"},
			{ofLogger, "1", nil, "INVALID_REQUEST: Unexpected node id. Expected 0, but received 1"},
			{ofLogger, "", nil, "INVALID_REQUEST: Node id must be an integer, but it is: "},
		} {
			if got := alter(t, c, false, s.kind, s.name, s.changes...); got != s.want {
				t.Errorf("%v %q %v: %s, want %s", s.kind, s.name, s.changes, got, s.want)
			}
		}
		topic, _ := h.cluster.Image().Topic("t")
		img := h.cluster.Image()
		got := fmt.Sprint(topic.Configs, img.BrokerConfigs(""), img.BrokerConfigs("0"), img.GroupConfigs("g"), img.ClientMetrics("m"), " ", h.cluster.level)
		const want = "map[cleanup.policy:delete,compact] map[log.retention.ms:7] map[log.retention.ms:8] map[consumer.session.timeout.ms:50000] map[interval.ms:1000] DEBUG"
		if got != want {
			t.Errorf("there is %s\nwant %s", got, want)
		}
	})
}

// TestValidateOnly changes nothing, loggers included.
func TestValidateOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, Config{}, nil)
		h.topic(t, "t", 1)
		h.cluster.level = "INFO"
		c := h.dial(t)
		if got := alter(t, c, true, ofTopic, "t", "retention.ms=5") + alter(t, c, true, ofLogger, "0", "root=DEBUG"); got != "donedone" {
			t.Error(got)
		}
		if topic, _ := h.cluster.Image().Topic("t"); len(topic.Configs) > 0 || h.cluster.level != "INFO" {
			t.Errorf("set %v, level %s", topic.Configs, h.cluster.level)
		}
	})
}

// TestEachResourceOnce refuses both places of a resource, and changes the others.
func TestEachResourceOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, Config{}, nil)
		h.topic(t, "t", 1)
		h.topic(t, "u", 1)
		req := kmsg.NewPtrIncrementalAlterConfigsRequest()
		for _, name := range []string{"t", "u", "t"} {
			r := kmsg.NewIncrementalAlterConfigsRequestResource()
			r.ResourceType, r.ResourceName = ofTopic, name
			r.Configs = append(r.Configs, change("retention.ms=5"))
			req.Resources = append(req.Resources, r)
		}
		var got []string
		for _, r := range call[*kmsg.IncrementalAlterConfigsResponse](t, h.dial(t), 0, req).Resources {
			got = append(got, r.ResourceName+" "+verdict(r.ErrorCode, r.ErrorMessage))
		}
		const twice = "t INVALID_REQUEST: Each resource must appear at most once."
		if !slices.Equal(got, []string{twice, "u done", twice}) {
			t.Error(got)
		}
	})
}

func TestAlterConfigsReplaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, Config{}, nil)
		id := h.topic(t, "t", 1)
		h.cluster.must(t, &metadata.SetConfigs{Resource: metadata.Resource{Topic: id}, Configs: map[string]string{"retention.ms": "1", "segment.ms": "2"}})
		c := h.dial(t)
		replace := func(kind kmsg.ConfigResourceType, name string, value *string) string {
			req := kmsg.NewPtrAlterConfigsRequest()
			r := kmsg.NewAlterConfigsRequestResource()
			r.ResourceType, r.ResourceName = kind, name
			one := kmsg.NewAlterConfigsRequestResourceConfig()
			one.Name, one.Value = "retention.ms", value
			r.Configs = append(r.Configs, one)
			req.Resources = append(req.Resources, r)
			done := call[*kmsg.AlterConfigsResponse](t, c, 2, req).Resources[0]
			return verdict(done.ErrorCode, done.ErrorMessage)
		}
		if got := replace(ofTopic, "t", nil); got != "INVALID_REQUEST: Null value not supported for : retention.ms" {
			t.Error(got)
		}
		if got := replace(ofLogger, "0", new("INFO")); got != "INVALID_REQUEST: Unknown resource type 8" {
			t.Error(got)
		}
		if got := replace(ofTopic, "t", new("3")); got != "done" {
			t.Error(got)
		}
		if topic, _ := h.cluster.Image().Topic("t"); fmt.Sprint(topic.Configs) != "map[retention.ms:3]" {
			t.Errorf("left are %v", topic.Configs)
		}
	})
}

func TestListConfigResources(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, Config{}, nil)
		h.topic(t, "t", 1)
		c := h.dial(t)
		alter(t, c, false, ofGroup, "g", "share.isolation.level=read_committed")
		alter(t, c, false, ofMetrics, "m", "interval.ms=1000")
		list := func(version int16, types ...int8) string {
			req := kmsg.NewPtrListConfigResourcesRequest()
			req.ResourceTypes = types
			resp := call[*kmsg.ListConfigResourcesResponse](t, c, version, req)
			s := fmt.Sprint(resp.ErrorCode)
			for _, r := range resp.ConfigResources {
				s += fmt.Sprintf(" %s:%d", r.Name, r.Type)
			}
			return s
		}
		for _, l := range []struct {
			version int16
			types   []int8
			want    string
		}{
			{0, nil, "0 m:16"},
			{1, []int8{16}, "0 m:16"},
			{1, []int8{2, 32}, "0 g:32 t:2"},
			{1, []int8{2, 2}, "0 t:2"},
			{1, []int8{4}, "0 0:4 1:4 2:4"},
			{1, []int8{8}, "0 0:8 1:8 2:8"},
			{1, nil, "0 g:32 m:16 0:8 1:8 2:8 0:4 1:4 2:4 t:2"},
			{1, []int8{2, 7}, "35"},
		} {
			if got := list(l.version, l.types...); got != l.want {
				t.Errorf("v%d %v: %s, want %s", l.version, l.types, got, l.want)
			}
		}
		if got := alter(t, c, false, ofMetrics, "m", "-interval.ms"); got != "done" || list(0) != "0" {
			t.Errorf("%s; a subscription without configs is still listed: %s", got, list(0))
		}
	})
}

// TestConnectionsAreBoundedAsSet changes the bound while connections are open.
func TestConnectionsAreBoundedAsSet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := start(t, Config{ConnectionsMax: 3}, nil)
		c := h.dial(t)
		if got := alter(t, c, false, ofBroker, "", "max.connections=2"); got != "done" {
			t.Fatal(got)
		}
		second := h.dial(t)
		closed(t, h.dial(t))
		if got := alter(t, second, false, ofBroker, "0", "max.connections=5", "max.connections.per.ip=3"); got != "done" {
			t.Fatal(got)
		}
		call[*kmsg.ApiVersionsResponse](t, h.dial(t), 0, kmsg.NewPtrApiVersionsRequest())
		closed(t, h.dial(t))
	})
}
