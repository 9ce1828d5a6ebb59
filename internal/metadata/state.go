package metadata

import (
	"cmp"
	"crypto/rand"
	"fmt"

	"github.com/karst-io/karst"
)

// Position is a place in the metadata log: the commit Number of Term. The zero
// Position is before the first commit.
type Position struct {
	Term   karst.Term
	Number karst.Number
}

// Compare orders positions as the log does.
func (p Position) Compare(q Position) int {
	return cmp.Or(cmp.Compare(p.Term, q.Term), cmp.Compare(p.Number, q.Number))
}

func (p Position) String() string { return fmt.Sprintf("%d/%d", p.Term, p.Number) }

// ObjectKind says which folder an object lies in.
type ObjectKind uint8

// The kinds of data objects.
const (
	WALObject ObjectKind = 1 // wal/<incarnation>/<number>
	SegObject ObjectKind = 2 // seg/<spread>/<incarnation>-<counter>
)

// ObjectID names one data object.
type ObjectID struct {
	Kind   ObjectKind
	Writer karst.Incarnation
	Number karst.Number // WAL number or segment counter
}

// Name is the object's name below the bucket's prefix.
func (o ObjectID) Name() string {
	if o.Kind == WALObject {
		return fmt.Sprintf("%s/%020d", WALFolder(o.Writer), uint64(o.Number))
	}
	return fmt.Sprintf("seg/%02x/%020d-%020d", uint8(uint64(o.Number)*0x9e3779b97f4a7c15>>56), o.Writer, o.Number)
}

// WALFolder is the folder of the WAL of an incarnation, below the bucket's
// prefix, without a trailing slash.
func WALFolder(inc karst.Incarnation) string { return fmt.Sprintf("wal/%020d", uint64(inc)) }

// Compare orders objects by kind, writer, number.
func (o ObjectID) Compare(p ObjectID) int {
	return cmp.Or(cmp.Compare(o.Kind, p.Kind), cmp.Compare(o.Writer, p.Writer), cmp.Compare(o.Number, p.Number))
}

// Source is one manifest entry: a run of a partition's offsets and where its
// bytes, its index and its checkpoint are.
type Source struct {
	Object             ObjectID
	Base, Last         karst.Offset
	Data, Index        karst.Span
	IndexCheck         uint32
	MaxTimestamp       karst.Timestamp
	MaxTimestampOffset karst.Offset
}

// StateRef is where a producer-state checkpoint lies.
type StateRef struct {
	Object ObjectID
	At     karst.Span
	Check  uint32
	Full   bool         // otherwise a delta to the ones before
	Next   karst.Offset // it covers everything below
}

// EpochStart says that a leader epoch begins at an offset.
type EpochStart struct {
	Epoch karst.Epoch
	Start karst.Offset
}

// PartitionState is one partition as the image knows it. Immutable.
type PartitionState struct {
	ID       karst.TopicPartition
	Leader   karst.Incarnation // 0: none
	Broker   karst.BrokerID    // that led last, -1: never led
	Epoch    karst.Epoch       // current leader epoch
	Epochs   []EpochStart      // ascending; the last one is Epoch's
	LogStart karst.Offset
	End      karst.Offset // committed end offset, explicit
	Sources  []Source     // ascending, contiguous up to End; none wholly below LogStart whose producers the checkpoints have
	States   []StateRef   // newest full checkpoint and the deltas after it
	// Replicas are those assigned, the preferred leader first: what is shown
	// is Replicas.Of. The leader is one of them unless Previous says otherwise.
	Replicas []karst.BrokerID
	// Previous is what was shown before a reassignment that is in progress: no
	// replica that is assigned has led since. nil: none is in progress.
	Previous []karst.BrokerID
	// Factor is how many replicas were assigned by hand, if fewer than the
	// topic's replication factor. 0: as many as that are shown.
	Factor int16
	// Stopped is the adopted incarnation whose held WAL objects may have records
	// of this partition; it gets no leader until they are released. 0: none.
	Stopped karst.Incarnation
}

// Prefers is the broker that is to lead the partition by its assignment; -1 if it
// has none.
func (p *PartitionState) Prefers() karst.BrokerID {
	if len(p.Replicas) == 0 {
		return -1
	}
	return p.Replicas[0]
}

// TopicState is one topic. Immutable.
type TopicState struct {
	ID                karst.TopicID
	Name              string
	Internal          bool
	ReplicationFactor int16
	Partitions        int32
	Configs           map[string]string // explicit ones only
}

// Phase is where an incarnation is in its life.
type Phase uint8

// The phases, in order.
const (
	Live Phase = iota + 1
	Fenced
	Adopted
)

// BrokerState is one incarnation of a broker. Immutable.
type BrokerState struct {
	Incarnation karst.Incarnation
	Registration
	Phase   Phase
	Trim    karst.Number // WAL numbers at or below are trimmed
	Settled Settled
	Applied []uint64     // requests above Settled.Request that were applied, ascending
	WALEnd  karst.Number // number of the tombstone that ended its WAL; 0: not adopted, or unknown
	Held    []ObjectID   // WAL objects that stopped partitions may need
}

// Registration is what a broker says of itself.
type Registration struct {
	ID      karst.BrokerID
	Process ProcessID // which process; zero is unknown
	Rack    string
	Host    string // of the first listener, as clients are told
	Port    int32
	// Listeners are all of them by name, if they have names.
	Listeners []Endpoint
	Peer      string // HOST:PORT where it answers other brokers; "" nowhere
	WALURL    string // "" when the WAL shares the data store
	Supports  int32  // highest level of LevelFeature it reads; 0 is 1
}

// ProcessID tells processes apart, which may register many incarnations.
type ProcessID [16]byte

// NewProcessID draws one.
func NewProcessID() (p ProcessID) {
	rand.Read(p[:]) // never fails
	return p
}

// Endpoint is the address of a listener that clients are told.
type Endpoint struct {
	Name string
	Host string
	Port int32
}

// At is the address that clients are told who came through the listener of
// a name; that of the first listener if the broker has none of that name.
func (r *Registration) At(listener string) (host string, port int32) {
	for _, l := range r.Listeners {
		if l.Name == listener {
			return l.Host, l.Port
		}
	}
	return r.Host, r.Port
}

// Settled is what an incarnation will never name again (I9).
type Settled struct {
	Counter karst.Number // segment counters at or below
	Request uint64       // commit request numbers at or below
}

// Range is one partition's part of a commit.
type Range struct {
	Partition karst.TopicPartition
	Epoch     karst.Epoch  // the committer leads it at this epoch
	Start     karst.Offset // must be the image's End
	End       karst.Offset
	Sources   []Source
	State     *StateRef    // optional
	LogStart  karst.Offset // folded trims and retention; 0 for none; never lowers
	// NewLeader, when not 0, hands the partition over at Epoch+1.
	NewLeader karst.Incarnation
}

// CommitRequest is the one commit record of flush, hand-over and adoption
// (section 5 of the architecture; I8, I9).
type CommitRequest struct {
	Incarnation karst.Incarnation // on whose behalf
	Request     uint64            // its request number; 0 for adoption
	Settled     Settled
	WALTrim     karst.Number // 0: unchanged
	Ranges      []Range
	// Adopt marks the incarnation adopted; it must be fenced. Ranges that are too
	// many for one commit go ahead of it, in commits without a request number.
	Adopt   bool
	WALEnd  karst.Number           // with Adopt: number of the tombstone that ended the WAL
	Held    []ObjectID             // with Adopt: WAL objects that stopped partitions may need
	Stopped []karst.TopicPartition // with Adopt: led by Incarnation, and waiting for Held to be released
}

// Delta is what one commit changed.
type Delta struct {
	Position Position
	// Reset says that the image came from a snapshot: everything may have
	// changed, and nothing below is filled in.
	Reset        bool
	Topics       []karst.TopicID        // created, deleted or reconfigured
	Partitions   []karst.TopicPartition // any field changed, deleted included
	Incarnations []karst.Incarnation
	// BrokerConfigs is set when configs of a broker or of all changed.
	BrokerConfigs bool
	// Unreferenced lists objects that lost their last reference, and those that
	// only dropped ranges named. Ask Deletable before deleting.
	Unreferenced []ObjectID
	// Requests lists the CommitRequests with a number that were applied (I9).
	Requests []AppliedRequest
	// Dropped lists ranges of CommitRequests that were ignored because their
	// partition is gone or led by another.
	Dropped []karst.TopicPartition
}

// AppliedRequest names a CommitRequest that an image shows as done.
type AppliedRequest struct {
	Incarnation karst.Incarnation
	Request     uint64
}
