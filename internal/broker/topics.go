package broker

import (
	"context"

	"github.com/karst-io/karst/internal/cluster/controller"
	"github.com/karst-io/karst/internal/cluster/member"
	"github.com/karst-io/karst/internal/metadata"
)

// topics is the controller as the listener sees it (kafka.Topics). Requests of
// clients that change metadata are executed where the controller is; what a broker
// creates for itself it asks for.
type topics struct {
	*controller.Controller
	member *member.Member
}

func (t topics) CreateTopic(ctx context.Context, s controller.TopicSpec) (*metadata.TopicState, error) {
	return t.member.CreateTopic(ctx, s)
}
