package kafka

import (
	"context"
	"slices"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// API is one Kafka API as this broker serves it. Each is declared once, in the
// file that implements it; ApiVersions and the compatibility page are derived
// from the table of them.
type API struct {
	Key      int16
	Min, Max int16 // versions served
	// Advertised is the smallest version told to clients: Min, except for Produce,
	// of which old clients need to be told that 0 is served (KAFKA-18659).
	Advertised int16

	// apply executes a request, as far as that can be done without waiting, and
	// returns what is left. It may wait itself: that stops the connection's
	// pipeline, which is right for administration. An error closes the connection.
	apply func(s *Server, ctx context.Context, r *Request) (Pending, error)
	// forward reports whether a request is to be executed where the controller is;
	// nil: never.
	forward func(s *Server, r kmsg.Request) bool
	// frameMax bounds the size of the API's requests, in bytes, where that is
	// below the listener's; 0 for no bound of its own.
	frameMax int64
}

// APIs is the table of everything served, by key.
func APIs() []API {
	all := slices.Concat(controlAPIs(), dataAPIs(), groupAPIs(), configAPIs(), staticAPIs())
	slices.SortFunc(all, func(a, b API) int { return int(a.Key) - int(b.Key) })
	return all
}

// controlAPIs are the APIs about the cluster; dataAPIs are those about records.
func controlAPIs() []API {
	return []API{
		metadataAPI,
		apiVersionsAPI,
		createTopicsAPI,
		deleteTopicsAPI,
		initProducerIDAPI,
		createPartitionsAPI,
		describeClusterAPI,
	}
}
