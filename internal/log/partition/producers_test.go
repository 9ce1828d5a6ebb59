package partition

import (
	"errors"
	"testing"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/log/record"
)

// A producer that is not known may begin anywhere, but not in an epoch that no
// producer has.
func TestUnknownProducer(t *testing.T) {
	var all producers
	for epoch, want := range map[karst.ProducerEpoch]error{0: nil, 7: nil, -1: nil, -2: karst.InvalidProducerEpoch.Err(), -32768: karst.InvalidProducerEpoch.Err()} {
		if _, err := all.check(record.Info{Producer: 5, ProducerEpoch: epoch, BaseSequence: 9}); !errors.Is(err, want) {
			t.Errorf("epoch %d: %v, want %v", epoch, err, want)
		}
	}
}
