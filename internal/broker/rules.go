package broker

import (
	"github.com/karst-io/karst"
	topicconfig "github.com/karst-io/karst/internal/config/topic"
	"github.com/karst-io/karst/internal/log/record"
	"github.com/karst-io/karst/internal/metadata"
)

// codecs are the values of compression.type that make the broker recode.
var codecs = map[string]record.Codec{
	"uncompressed": record.None, "gzip": record.Gzip, "snappy": record.Snappy, "lz4": record.LZ4, "zstd": record.Zstd,
}

// rulesOf are what a topic demands of its batches. The engine keeps them until
// it hears that configs of the topic or of a broker changed; by then the image
// has the change.
func (b *Broker) rulesOf(t *metadata.TopicState) record.Rules {
	c := b.configs.topicOf(b.replica.Image(), t)
	r := record.Rules{
		MaxBytes: int(c.MaxMessageBytes), SegmentBytes: int(c.SegmentBytes), RequireKeys: c.Compact,
		LogAppendTime: c.LogAppendTime, BeforeMax: c.BeforeMaxMS, AfterMax: c.AfterMaxMS,
		AllowZstd: true, // the request's version was checked by the listener
	}
	if codec, ok := codecs[c.Compression]; ok {
		r.Recode, r.Codec = true, codec
		switch codec {
		case record.Gzip:
			r.Level = max(0, c.GzipLevel)
		case record.LZ4:
			r.Level = c.LZ4Level
		case record.Zstd:
			r.Level = c.ZstdLevel
		}
	}
	return r
}

// retentionOf says how long the records of a topic's partitions stay. It is
// asked partition by partition, in the order of topics: the last one is kept
// while the image stays.
func (b *Broker) retentionOf() func(tp karst.TopicPartition) (ms, bytes int64, deletePolicy bool) {
	var last *metadata.TopicState
	var at *metadata.Image
	var c topicconfig.Topic
	return func(tp karst.TopicPartition) (ms, bytes int64, deletePolicy bool) {
		img := b.replica.Image()
		t, ok := img.TopicByID(tp.Topic)
		if !ok {
			return -1, -1, false
		}
		if t != last || img != at {
			last, at, c = t, img, b.configs.topicOf(img, t)
		}
		return c.RetentionMS, c.RetentionBytes, c.Delete
	}
}
