package kafka

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/karst-io/karst"
)

func TestEveryCodeHasAKafkaError(t *testing.T) {
	for _, c := range karst.Codes() {
		if codes[c] == nil {
			t.Errorf("code %d has no Kafka error", c)
		}
		if got := Code(fmt.Errorf("wrapped: %w", c.Err())); got != codes[c].Code {
			t.Errorf("code %d is Kafka error %d", c, got)
		}
	}
}

func TestOtherErrors(t *testing.T) {
	for want, err := range map[int16]error{
		0:  nil,
		-1: errors.New("unknown"),
		7:  fmt.Errorf("waiting: %w", context.DeadlineExceeded),
		56: &karst.CorruptError{Object: "seg/1"},
	} {
		if got := Code(err); got != want {
			t.Errorf("%v is Kafka error %d, want %d", err, got, want)
		}
	}
}
