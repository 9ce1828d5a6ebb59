package broker

import (
	"testing"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/metadata"
)

// TestIdentity: a process tells the incarnation of another from its own, and
// does not end itself over one of which it does not know.
func TestIdentity(t *testing.T) {
	at := func(i karst.Incarnation, port int32) *metadata.BrokerState {
		return &metadata.BrokerState{Incarnation: i, Registration: metadata.Registration{Host: "h", Port: port}}
	}
	var i identity
	expect := func(what string, live *metadata.BrokerState, want bool) {
		t.Helper()
		if got := i.replacedBy(live, "h", 1); got != want {
			t.Errorf("%s: replaced %t, want %t", what, got, want)
		}
	}
	expect("before it registered, whoever is there will be fenced", at(7, 2), false)
	i.begin()
	i.end(8, true)
	expect("its own", at(8, 1), false)
	expect("a later one", at(9, 1), true)
	i.begin()
	expect("while it registers, at its own address", at(9, 1), false)
	expect("while it registers, at another address", at(9, 2), true)
	i.end(0, false)
	expect("after an unknown outcome, at its own address", at(9, 1), false)
	i.begin()
	i.end(0, true)
	expect("a refusal says nothing about the attempt before it", at(9, 1), false)
	i.begin()
	i.end(10, true)
	expect("after a success", at(11, 1), true)
}
