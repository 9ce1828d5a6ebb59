package kafka

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"

	"github.com/karst-io/karst"
	"github.com/karst-io/karst/internal/log/engine"
	"github.com/karst-io/karst/internal/log/wal"
	"github.com/karst-io/karst/internal/metadata"
	"github.com/karst-io/karst/internal/store"
)

// Log is the log as the data APIs see it: package engine, whose contracts hold.
// A broker's is made by OfEngine.
type Log interface {
	Append(ctx context.Context, tp karst.TopicPartition, b []byte, hold store.Holder) (Appended, error)
	// ReadMemory never waits; cold says that only Read has the answer.
	ReadMemory(tp karst.TopicPartition, r engine.ReadRequest) (read *engine.Read, cold bool, err error)
	Read(ctx context.Context, tp karst.TopicPartition, r engine.ReadRequest) (*engine.Read, error)
	ListOffset(ctx context.Context, tp karst.TopicPartition, at karst.Timestamp, current karst.Epoch, committed bool) (engine.Found, error)
	EpochEnd(tp karst.TopicPartition, current, want karst.Epoch) (engine.EpochEnd, error)
	DeleteRecords(tp karst.TopicPartition, before karst.Offset) (low karst.Offset, commit Commit, err error)
	Subscribe() Subscription
	Inventory
}

// Inventory tells what the partitions that are led here hold.
type Inventory interface {
	// Producers lists a partition's producers; it may read the store.
	Producers(ctx context.Context, tp karst.TopicPartition) ([]engine.ProducerState, error)
	// Size is a partition's durable bytes.
	Size(tp karst.TopicPartition) (int64, error)
}

// Commit is something on its way to being durable (wal.Commit).
type Commit interface {
	Done() <-chan struct{}
	Err() error // after Done
}

// Appended is engine.Appended; a nil Commit means durable.
type Appended struct {
	Base      karst.Offset
	Timestamp karst.Timestamp
	LogStart  karst.Offset
	Commit    Commit
}

// Subscription is engine.Subscription.
type Subscription interface {
	Add(tp karst.TopicPartition)
	Remove(tp karst.TopicPartition)
	Wait() <-chan struct{}
	Take() []karst.TopicPartition
	Close()
}

// OfEngine is the Log of one incarnation's engine.
func OfEngine(e *engine.Engine) Log { return engineLog{e} }

type engineLog struct{ *engine.Engine }

func (l engineLog) Append(ctx context.Context, tp karst.TopicPartition, b []byte, hold store.Holder) (Appended, error) {
	a, err := l.Engine.Append(ctx, tp, b, hold)
	return Appended{Base: a.Base, Timestamp: a.Timestamp, LogStart: a.LogStart, Commit: commitOf(a.Commit)}, err
}

func (l engineLog) DeleteRecords(tp karst.TopicPartition, before karst.Offset) (karst.Offset, Commit, error) {
	low, c, err := l.Engine.DeleteRecords(tp, before)
	return low, commitOf(c), err
}

func (l engineLog) Subscribe() Subscription { return l.Engine.Subscribe() }

// commitOf keeps a nil pointer from becoming an interface that is not nil.
func commitOf(c *wal.Commit) Commit {
	if c == nil {
		return nil
	}
	return c
}

// records is what the data APIs keep from request to request.
type records struct {
	log      Log
	images   Images
	broker   karst.BrokerID
	listener string // Config.Listener
	sessions *sessions
	cold     *coldReads
	bytesMax int64 // of one fetch response's records (fetch.max.bytes)
	counts   fetchCounts
	logger   *slog.Logger
	complain atomic.Int64 // when the next line about reads may be logged; Unix time, s
}

// fetchBytesMax is fetch.max.bytes unless it is set, in bytes.
const fetchBytesMax = 55 << 20

func newRecords(log Log, images Images, broker karst.BrokerID, coldBytes int64) *records {
	return &records{
		log: log, images: images, broker: broker, logger: slog.New(slog.DiscardHandler),
		sessions: newSessions(sessionSlots), cold: newColdReads(log, coldBytes), bytesMax: fetchBytesMax,
	}
}

// close ends the reads that still go on; no request may be in progress.
func (d *records) close() { d.cold.close() }

// dataAPIs are the APIs about records.
func dataAPIs() []API {
	return []API{
		produceAPI(), fetchAPI(), listOffsetsAPI(), deleteRecordsAPI(), offsetForLeaderEpochAPI(),
	}
}

// asNamed is an error of the log as it is told to whoever named the topic: by its
// name, not by its id. The log may be an image behind or ahead of what find knew.
func asNamed(byID bool, err error) error {
	if !byID && errors.Is(err, karst.UnknownTopicID.Err()) {
		return karst.UnknownTopic.Errorf("the topic is being created or deleted")
	}
	return err
}

// find resolves a partition that a request names, by topic id where the version
// has ids, otherwise by name.
func (d *records) find(byID bool, id karst.TopicID, name string, index int32) (karst.TopicPartition, error) {
	img := d.images.Image()
	var t *metadata.TopicState
	var ok bool
	if byID {
		t, ok = img.TopicByID(id)
	} else {
		t, ok = img.Topic(name)
	}
	switch {
	case !ok && byID:
		return karst.TopicPartition{}, karst.UnknownTopicID.Errorf("no topic has id %s", id)
	case !ok:
		return karst.TopicPartition{}, karst.UnknownTopic.Errorf("no topic is named %q", name)
	case index < 0 || index >= t.Partitions:
		return karst.TopicPartition{}, karst.UnknownTopic.Errorf("topic %q has no partition %d", t.Name, index)
	}
	return karst.TopicPartition{Topic: t.ID, Partition: karst.Partition(index)}, nil
}
