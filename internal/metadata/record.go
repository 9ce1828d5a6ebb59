package metadata

import (
	"fmt"

	"github.com/karst-io/karst"
)

// Commit is one object of the metadata log: records that apply together or not
// at all.
type Commit struct {
	Position    Position
	Predecessor uint32 // checksum of the commit before, across terms
	Nonce       [16]byte
	Records     []Record
}

// Record is one change of the image. The types below, and *CommitRequest, are
// all there are.
type Record interface {
	// apply changes img, which nobody else sees yet. An error means refused; img
	// is then to be thrown away.
	apply(img *Image, d *changes) error
}

// RegisterBroker adds a live incarnation, which must be the image's next one.
type RegisterBroker struct {
	Incarnation karst.Incarnation
	Registration
}

// AssignReplicas gives partitions replicas, the preferred leader first. Who leads
// does not change by it: where the last leader is not among them, a reassignment
// is in progress until one of them leads.
type AssignReplicas struct{ Assignments []Assignment }

// Assignment is one partition of AssignReplicas.
type Assignment struct {
	Partition karst.TopicPartition
	Replicas  []karst.BrokerID // distinct, at least one
	// Previous is what was shown before, to be shown as what is given up and
	// assigned again by a cancellation. It counts only while in progress.
	Previous []karst.BrokerID
}

// DrainBroker says whether a broker id, live or not, may be given partitions.
type DrainBroker struct {
	ID      karst.BrokerID
	Drained bool
	Since   karst.Timestamp // if drained, for people; 0 is unknown, as below levelSince
}

// FenceIncarnation makes a live incarnation fenced: from here on no commit of
// its own is accepted.
type FenceIncarnation struct{ Incarnation karst.Incarnation }

// NewPartition is a partition as it is created.
type NewPartition struct {
	Leader   karst.Incarnation // live
	Replicas []karst.BrokerID
}

// CreateTopic adds a topic with its partitions, numbered from 0.
type CreateTopic struct {
	ID                karst.TopicID
	Name              string
	Internal          bool
	ReplicationFactor int16
	Configs           map[string]string
	Partitions        []NewPartition
}

// DeleteTopic removes a topic, its partitions and their references.
type DeleteTopic struct{ ID karst.TopicID }

// CreatePartitions adds partitions after the last one of a topic.
type CreatePartitions struct {
	ID         karst.TopicID
	Partitions []NewPartition
}

// SetConfigs replaces the explicit configs of one resource.
type SetConfigs struct {
	Resource Resource
	Configs  map[string]string
}

// Resource is something with configs. At most one field is set.
type Resource struct {
	Topic         karst.TopicID
	Group         string // a group, whether it has members or not
	ClientMetrics string // a subscription to client metrics (KIP-714)
	Broker        string // the broker of that id in decimal; with no field set, the default of all brokers
}

// AllocateProducerIDs hands out a block of producer ids; First must be the
// image's next one.
type AllocateProducerIDs struct {
	First karst.ProducerID
	Count int64
}

// Placement gives a partition to a live incarnation at the next epoch.
type Placement struct {
	Partition karst.TopicPartition
	Leader    karst.Incarnation
}

// PlaceLeaders places partitions that nobody leads: their leader is 0 or
// adopted, and they are not stopped.
type PlaceLeaders struct{ Placements []Placement }

// ForgetIncarnation drops the state of an adopted incarnation that leads
// nothing, and of whose WAL nothing is referenced. Where its WAL ended stays.
type ForgetIncarnation struct{ Incarnation karst.Incarnation }

// ReleaseHeld gives up, as loss, what an adopted incarnation's held WAL objects
// may have had: the partitions they stopped may be placed again.
type ReleaseHeld struct{ Incarnation karst.Incarnation }

// SetFeature raises a feature's level. That of LevelFeature is one that every live
// broker reads.
type SetFeature struct {
	Name  string
	Level int32
}

// ErrDuplicate refuses a CommitRequest that the image already shows as applied.
var ErrDuplicate = karst.InvalidRequest.Errorf("the request was applied before")

func refuse(format string, args ...any) error {
	return karst.InvalidRequest.Errorf(format, args...)
}

// Apply applies a commit to an image, which it leaves as it is, and says what
// changed. It is a function of its arguments alone (I10). An error means that
// the commit does not fit the image: the log is broken, or was not read from
// where the image ends.
func Apply(img *Image, c *Commit, check uint32) (*Image, *Delta, error) {
	if c.Predecessor != img.check {
		return nil, nil, fmt.Errorf("metadata commit %s follows a commit with checksum %08x, not %08x of %s",
			c.Position, c.Predecessor, img.check, img.position)
	}
	if c.Position.Compare(img.position) <= 0 {
		return nil, nil, fmt.Errorf("metadata commit %s does not come after %s", c.Position, img.position)
	}
	b := NewBatch(img)
	for n, r := range c.Records {
		if err := r.apply(b.img, b.changed); err != nil {
			return nil, nil, fmt.Errorf("metadata commit %s, record %d (%T): %w", c.Position, n, r, err)
		}
	}
	next, d := b.Finish(c.Position, check)
	return next, d, nil
}

// ApproxSize estimates how large a record is in a commit, in bytes.
func ApproxSize(r Record) int {
	const fixed, perSource, perRange, perPartition = 64, 48, 40, 24
	switch r := r.(type) {
	case *CommitRequest:
		n := fixed + perPartition*(len(r.Stopped)+len(r.Held))
		for k := range r.Ranges {
			n += perRange + perSource*len(r.Ranges[k].Sources)
		}
		return n
	case *PlaceLeaders:
		return fixed + perPartition*len(r.Placements)
	case *CreateTopic:
		n := fixed + len(r.Name) + perPartition*len(r.Partitions)
		for k, v := range r.Configs {
			n += len(k) + len(v)
		}
		return n
	case *CreatePartitions:
		return fixed + perPartition*len(r.Partitions)
	case *AssignReplicas:
		n := fixed
		for k := range r.Assignments {
			n += perPartition + 4*(len(r.Assignments[k].Replicas)+len(r.Assignments[k].Previous))
		}
		return n
	case *SetConfigs:
		n := fixed
		for k, v := range r.Configs {
			n += len(k) + len(v)
		}
		return n
	default:
		return fixed
	}
}
