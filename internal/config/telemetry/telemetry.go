// Package telemetryconfig is the table of the configs of a subscription to
// client metrics (KIP-714), and the rules for their values.
package telemetryconfig

import (
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/config/key"
)

const (
	interval = "interval.ms"
	match    = "match"
	metrics  = "metrics"
)

// Keys is the table, by name. The caller may change it.
func Keys() []configkey.Key {
	return []configkey.Key{
		configkey.Number(interval, configkey.Int, "300000", configkey.NoMin, configkey.NoMax, configkey.Echoed, "Milliseconds between two pushes of a client."),
		{Name: match, Kind: configkey.List, Effect: configkey.Echoed, Doc: "Which clients: patterns such as client_id=app.*, all of which must match."},
		{Name: metrics, Kind: configkey.List, Effect: configkey.Echoed, Doc: "Prefixes of the metrics that clients push; * is all."},
	}
}

// selectors are what a pattern may look at.
var selectors = []string{"client_instance_id", "client_id", "client_software_name", "client_software_version", "client_source_address", "client_source_port"}

// Validate checks the explicit configs of a subscription as Kafka does. The
// error is a *karst.Error.
func Validate(explicit map[string]string) error {
	for _, name := range slices.Sorted(maps.Keys(explicit)) {
		if name != interval && name != match && name != metrics {
			return karst.InvalidRequest.Errorf("Unknown client metrics configuration: %s", name)
		}
	}
	for _, k := range Keys() {
		v, ok := explicit[k.Name]
		if !ok {
			continue
		}
		printed, fault := k.Parse(v)
		if fault != "" {
			return karst.InvalidConfig.Errorf("%s", fault)
		}
		if err := check(k.Name, printed); err != nil {
			return err
		}
	}
	return nil
}

func check(name, v string) error {
	switch name {
	case interval:
		if n, _ := strconv.Atoi(v); n < 100 || n > 3600000 {
			return karst.InvalidRequest.Errorf("Invalid value %s for interval.ms, interval must be between 100 and 3600000 (1 hour)", v)
		}
	case match:
		if v == "" {
			return nil
		}
		for pattern := range strings.SplitSeq(v, ",") {
			parts := strings.Split(pattern, "=")
			if len(parts) == 2 && slices.Contains(selectors, strings.TrimSpace(parts[0])) {
				if _, err := regexp.Compile(strings.TrimSpace(parts[1])); err == nil {
					continue
				}
			}
			return karst.InvalidConfig.Errorf("Illegal client matching pattern: %s", pattern)
		}
	}
	return nil
}
