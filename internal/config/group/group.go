// Package groupconfig is the table of the configs that Kafka has for a single
// group (KIP-848, KIP-932, KIP-1071), and the rules for their values.
package groupconfig

import (
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/config/key"
)

// Keys is the table, by name. The caller may change it.
func Keys() []configkey.Key {
	const (
		session    = "Milliseconds without a heartbeat after which a member is gone."
		heartbeat  = "Milliseconds between two heartbeats of a member."
		assignment = "Least milliseconds between two assignments."
	)
	return []configkey.Key{
		number("consumer.assignment.interval.ms", "1000", 0, assignment),
		number("consumer.heartbeat.interval.ms", "5000", 1, heartbeat),
		number("consumer.session.timeout.ms", "45000", 1, session),
		number("share.assignment.interval.ms", "1000", 0, assignment),
		{
			Name: "share.auto.offset.reset", Kind: configkey.String, Default: "latest", Effect: configkey.Echoed, Check: offsetReset,
			Doc: "Where a share group starts: earliest, latest, or by_duration: and an ISO 8601 duration before now.",
		},
		number("share.delivery.count.limit", "5", 2, "How often a record is delivered at most."),
		number("share.heartbeat.interval.ms", "5000", 1, heartbeat),
		configkey.Choice("share.isolation.level", configkey.String, "read_uncommitted", configkey.Echoed,
			"Whether a share group sees records of transactions that are not committed.", []string{"read_committed", "read_uncommitted"}),
		number("share.partition.max.record.locks", "2000", 100, "Records of a partition that are in delivery at most."),
		number("share.record.lock.duration.ms", "30000", 1000, "Milliseconds a consumer has to acknowledge a record."),
		{
			Name: "share.renew.acknowledge.enable", Kind: configkey.Boolean, Default: "true", Effect: configkey.Echoed,
			Doc: "Whether a consumer may ask for more time to acknowledge.",
		},
		number("share.session.timeout.ms", "45000", 1, session),
		number("streams.assignment.interval.ms", "1000", 0, assignment),
		number("streams.heartbeat.interval.ms", "5000", 1, heartbeat),
		number("streams.initial.rebalance.delay.ms", "3000", 0, "Milliseconds that the first rebalance of an empty group waits for more members."),
		number("streams.num.standby.replicas", "0", 0, "Standby tasks of each stateful task."),
		number("streams.session.timeout.ms", "45000", 1, session),
	}
}

// number is a key whose default a broker config of the same name, below group., sets.
func number(name, def string, low float64, doc string) configkey.Key {
	return configkey.Number(name, configkey.Int, def, low, configkey.NoMax, configkey.Echoed, doc, "group."+name)
}

var duration = regexp.MustCompile(`^by_duration:[pP]((\d+[dD])?([tT](\d+[hH])?(\d+[mM])?(\d+(\.\d{1,9})?[sS])?)?)$`)

func offsetReset(v string) string {
	if v == "earliest" || v == "latest" {
		return ""
	}
	if m := duration.FindStringSubmatch(v); m != nil && strings.ContainsAny(m[1], "0123456789") && !strings.HasSuffix(strings.ToUpper(m[1]), "T") {
		return ""
	}
	const name = "share.auto.offset.reset"
	return configkey.Invalid(name, v, "Invalid value `"+v+"` for configuration "+name+
		". The value must be either 'earliest', 'latest' or of the format 'by_duration:<PnDTnHnMn.nS>'.")
}

// Validate checks the explicit configs of a group as Kafka does. broker says
// what a broker config is, for the bounds. The error is a *karst.Error of code
// InvalidConfig.
func Validate(explicit map[string]string, broker func(name string) string) error {
	values := map[string]int64{}
	known := 0
	for _, k := range Keys() {
		v, ok := explicit[k.Name]
		if ok {
			known++
		}
		switch {
		case ok:
		case len(k.Server) > 0:
			v = broker(k.Server[0])
		default:
			continue
		}
		printed, fault := k.Parse(v)
		if fault != "" && ok {
			return karst.InvalidConfig.Errorf("%s", fault)
		}
		if k.Kind == configkey.Int {
			values[k.Name], _ = strconv.ParseInt(printed, 10, 64)
		}
	}
	if known < len(explicit) {
		return unknown(explicit)
	}
	return bounds(explicit, values, broker)
}

func unknown(explicit map[string]string) error {
	names := map[string]bool{}
	for _, k := range Keys() {
		names[k.Name] = true
	}
	for _, name := range slices.Sorted(maps.Keys(explicit)) {
		if !names[name] {
			return karst.InvalidConfig.Errorf("Unknown group config name: %s", name)
		}
	}
	panic("BUG: every name is known")
}

// bounded lists what broker configs bound: the config, and what its bounds are called.
var bounded = []struct{ name, low, high string }{
	{"consumer.heartbeat.interval.ms", "group.consumer.min.heartbeat.interval.ms", "group.consumer.max.heartbeat.interval.ms"},
	{"consumer.session.timeout.ms", "group.consumer.min.session.timeout.ms", "group.consumer.max.session.timeout.ms"},
	{"consumer.assignment.interval.ms", "group.consumer.min.assignment.interval.ms", "group.consumer.max.assignment.interval.ms"},
	{"share.heartbeat.interval.ms", "group.share.min.heartbeat.interval.ms", "group.share.max.heartbeat.interval.ms"},
	{"share.session.timeout.ms", "group.share.min.session.timeout.ms", "group.share.max.session.timeout.ms"},
	{"share.record.lock.duration.ms", "group.share.min.record.lock.duration.ms", "group.share.max.record.lock.duration.ms"},
	{"share.delivery.count.limit", "group.share.min.delivery.count.limit", "group.share.max.delivery.count.limit"},
	{"share.partition.max.record.locks", "group.share.min.partition.max.record.locks", "group.share.max.partition.max.record.locks"},
	{"share.assignment.interval.ms", "group.share.min.assignment.interval.ms", "group.share.max.assignment.interval.ms"},
	{"streams.heartbeat.interval.ms", "group.streams.min.heartbeat.interval.ms", "group.streams.max.heartbeat.interval.ms"},
	{"streams.session.timeout.ms", "group.streams.min.session.timeout.ms", "group.streams.max.session.timeout.ms"},
	{"streams.num.standby.replicas", "", "group.streams.max.standby.replicas"},
	{"streams.assignment.interval.ms", "group.streams.min.assignment.interval.ms", "group.streams.max.assignment.interval.ms"},
}

func bounds(explicit map[string]string, values map[string]int64, broker func(name string) string) error {
	for _, b := range bounded {
		if _, ok := explicit[b.name]; !ok {
			continue
		}
		if low, err := strconv.ParseInt(broker(b.low), 10, 64); err == nil && values[b.name] < low {
			return karst.InvalidConfig.Errorf("%s must be greater than or equal to %s", b.name, b.low)
		}
		if high, err := strconv.ParseInt(broker(b.high), 10, 64); err == nil && values[b.name] > high {
			return karst.InvalidConfig.Errorf("%s must be less than or equal to %s", b.name, b.high)
		}
	}
	for _, of := range []string{"consumer", "share", "streams"} {
		session, heartbeat := of+".session.timeout.ms", of+".heartbeat.interval.ms"
		if values[session] <= values[heartbeat] {
			return karst.InvalidConfig.Errorf("%s must be greater than %s", session, heartbeat)
		}
	}
	return nil
}
