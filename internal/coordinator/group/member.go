package group

import (
	"bytes"
	"slices"
	"time"

	"github.com/karst-io/karst/internal/coordinator"
)

// member is one member of a group.
type member struct {
	id         string
	instance   *string // of a static member (KIP-345)
	client     Client
	session    time.Duration
	rebalance  time.Duration
	protocols  []Protocol // by preference; no name twice
	assignment []byte
	timer      timer // the session, or the first join

	// Requests that wait; 0: none.
	join, sync coordinator.Ticket
	canSkip    bool // of join: SkipAssignment may be answered
	// fresh: it never had an answer to JoinGroup, so it cannot send heartbeats.
	fresh bool
}

func (mb *member) static() bool { return mb.instance != nil }

// metadata is what the member said for the protocol; nil if it does not offer it.
func (mb *member) metadata(protocol string) []byte {
	for _, p := range mb.protocols {
		if p.Name == protocol {
			return p.Metadata
		}
	}
	return nil
}

// offers says whether these are the member's protocols, in the same order and
// with the same metadata.
func (mb *member) offers(protocols []Protocol) bool {
	return slices.EqualFunc(mb.protocols, protocols, func(a, b Protocol) bool {
		return a.Name == b.Name && bytes.Equal(a.Metadata, b.Metadata)
	})
}

// excused says whether the member need not send heartbeats: it waits for us.
func (mb *member) excused() bool {
	return !mb.fresh && (mb.join != 0 || mb.sync != 0)
}

// distinct leaves each name once. One that came twice would count as two members
// that support it.
func distinct(offered []Protocol) []Protocol {
	for i, p := range offered {
		if slices.ContainsFunc(offered[:i], p.named) {
			once := slices.Clone(offered[:i])
			for _, p := range offered[i+1:] {
				if !slices.ContainsFunc(once, p.named) {
					once = append(once, p)
				}
			}
			return once
		}
	}
	return offered
}

func (p Protocol) named(o Protocol) bool { return o.Name == p.Name }

// ownProtocols copies what a request offers.
func ownProtocols(offered []Protocol) []Protocol {
	own := make([]Protocol, len(offered))
	for i, p := range offered {
		own[i] = Protocol{Name: p.Name, Metadata: bytes.Clone(p.Metadata)}
	}
	return own
}
