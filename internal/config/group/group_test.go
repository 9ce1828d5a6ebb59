package groupconfig

import (
	"errors"
	"strings"
	"testing"

	"github.com/karst-io/karst"
)

// brokers are the broker configs of a group's, at their defaults.
var brokers = map[string]string{
	"group.consumer.min.session.timeout.ms": "45000", "group.consumer.max.session.timeout.ms": "60000",
	"group.consumer.min.heartbeat.interval.ms": "5000", "group.consumer.max.heartbeat.interval.ms": "15000",
	"group.streams.max.standby.replicas": "2",
}

func broker(name string) string {
	if v, ok := brokers[name]; ok {
		return v
	}
	for _, k := range Keys() {
		if len(k.Server) > 0 && k.Server[0] == name {
			return k.Default
		}
	}
	return ""
}

func TestValidate(t *testing.T) {
	for _, c := range []struct {
		name, value, want string // want: in the message, "" for a good one
	}{
		{"consumer.session.timeout.ms", "45000", ""},
		{"consumer.session.timeout.ms", "44999", "must be greater than or equal to group.consumer.min.session.timeout.ms"},
		{"consumer.session.timeout.ms", "60001", "must be less than or equal to group.consumer.max.session.timeout.ms"},
		{"consumer.session.timeout.ms", "x", "Not a number of type INT"},
		{"streams.num.standby.replicas", "3", "less than or equal"},
		{"streams.session.timeout.ms", "5000", "streams.session.timeout.ms must be greater than streams.heartbeat.interval.ms"},
		{"share.auto.offset.reset", "earliest", ""},
		{"share.auto.offset.reset", "by_duration:P1DT2H3M4.5S", ""},
		{"share.auto.offset.reset", "by_duration:PT1H", ""},
		{"share.auto.offset.reset", "by_duration:P", "by_duration:<PnDTnHnMn.nS>"},
		{"share.auto.offset.reset", "by_duration:P1DT", "by_duration"},
		{"share.auto.offset.reset", "by_duration:PT-1H", "by_duration"},
		{"share.isolation.level", "read", "String must be one of"},
		{"no.such", "1", "Unknown group config name: no.such"},
	} {
		err := Validate(map[string]string{c.name: c.value}, broker)
		switch {
		case c.want == "" && err != nil:
			t.Errorf("%s=%s: %v", c.name, c.value, err)
		case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want) || !errors.Is(err, karst.InvalidConfig.Err())):
			t.Errorf("%s=%s: %v, want %q", c.name, c.value, err, c.want)
		}
	}
	if err := Validate(nil, broker); err != nil {
		t.Error(err)
	}
}
