package group

import (
	"maps"
	"slices"
	"time"

	"github.com/karst-io/karst/internal/coordinator"
)

// Describe is DescribeGroups of one group.
func (m *Machine) Describe(now time.Time, t coordinator.Ticket, id string) []coordinator.Effect {
	s := begin(now, id)
	g := m.groups[id]
	if g == nil {
		return s.doneWith(t, Description{Group: id, Err: groupNotFound(id), State: "Dead"})
	}
	d := Description{Group: id, State: g.state.String(), ProtocolType: g.kind, Members: make([]DescribedMember, len(g.members))}
	for i, mb := range g.members {
		d.Members[i] = DescribedMember{Member: mb.id, Instance: mb.instance, Client: mb.client, Assignment: mb.assignment}
		if g.state == stateStable {
			d.Members[i].Metadata = mb.metadata(*g.protocol)
		}
	}
	if g.state == stateStable {
		d.Protocol = *g.protocol
	}
	return s.doneWith(t, d)
}

// List lists the groups, by id.
func (m *Machine) List() []Listing {
	all := make([]Listing, 0, len(m.groups))
	for _, id := range m.sortedGroups() {
		g := m.groups[id]
		all = append(all, Listing{Group: id, ProtocolType: g.kind, State: g.state.String(), Type: "classic"})
	}
	return all
}

func (m *Machine) sortedGroups() []string {
	return slices.Sorted(maps.Keys(m.groups))
}
