package kafka

import "github.com/twmb/franz-go/pkg/kmsg"

// feature is one of Kafka's features (KIP-584). Clients choose protocols by the
// finalized level: it says what this broker does, and nothing else.
type feature struct {
	name     string
	min, max int16 // supported levels
	level    int16 // finalized; 0 is off
}

// features are those there are, by name. metadata.version, from which tools derive
// the version of Kafka, is the range and level of Kafka 4.3: 3.3-IV3 to 4.3-IV0.
func features() []feature {
	return []feature{
		{name: metadataVersion, min: 7, max: 30, level: 30},
	}
}

// metadataVersion is the feature that Kafka's metadata log is versioned by.
const metadataVersion = "metadata.version"

// supported lists the features for a version of ApiVersions: before 4, clients
// fail on a level of 0 (KAFKA-17492).
func supported(all []feature, version int16) []kmsg.ApiVersionsResponseSupportedFeature {
	var known []kmsg.ApiVersionsResponseSupportedFeature
	for _, f := range all {
		if f.min > 0 || version >= 4 {
			known = append(known, kmsg.ApiVersionsResponseSupportedFeature{Name: f.name, MinVersion: f.min, MaxVersion: f.max})
		}
	}
	return known
}

// finalized lists the features that are on.
func finalized(all []feature) []kmsg.ApiVersionsResponseFinalizedFeature {
	var on []kmsg.ApiVersionsResponseFinalizedFeature
	for _, f := range all {
		if f.level > 0 {
			on = append(on, kmsg.ApiVersionsResponseFinalizedFeature{Name: f.name, MinVersionLevel: f.level, MaxVersionLevel: f.level})
		}
	}
	return on
}
