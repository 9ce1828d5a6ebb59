package broker

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/metadata"
)

// answerMax is how long a registered broker has to show that it is alive.
const answerMax = 2 * time.Second

// alone checks that no live broker answers at the address it registered: one
// broker at a time runs on a bucket, and two would fence each other for ever. It
// is a courtesy to the operator; safety comes from fencing.
func alone(ctx context.Context, img *metadata.Image, id karst.BrokerID) error {
	for b := range img.LiveBrokers() {
		addr := net.JoinHostPort(b.Host, strconv.Itoa(int(b.Port)))
		switch {
		case !answers(ctx, addr, img.Cluster().String()):
		case b.ID == id:
			return fmt.Errorf("broker %d is already running at %s on this bucket: stop it, or pass --broker.takeover=true to fence it", id, addr)
		default:
			return fmt.Errorf("broker %d is running at %s on this bucket, which one broker at a time can serve: stop it, or pass --broker.takeover=true to fence it", b.ID, addr)
		}
	}
	return nil
}

// answers reports whether a broker of the cluster serves at addr.
func answers(ctx context.Context, addr, cluster string) bool {
	ctx, cancel := context.WithTimeout(ctx, answerMax)
	defer cancel()
	dialer := net.Dialer{Timeout: answerMax}
	probe, err := dialer.DialContext(ctx, "tcp", addr)
	if err != nil {
		return false
	}
	probe.Close()
	client, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.RequestRetries(0), kgo.RetryTimeout(answerMax))
	if err != nil {
		return false
	}
	defer client.Close()
	m, err := kadm.NewClient(client).BrokerMetadata(ctx)
	return err == nil && m.Cluster == cluster
}
