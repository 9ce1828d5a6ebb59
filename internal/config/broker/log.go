package brokerconfig

import (
	"github.com/karst-io/karst/internal/config"
	"github.com/karst-io/karst/internal/config/key"
)

// logKeys are the configs about logs; most are defaults of topic configs.
func logKeys() []Key {
	const idle = "Accepted and shown; has no meaning on a bucket."
	return []Key{
		dynamic("compression.gzip.level", configkey.Int, "-1", "The gzip level, if compression.type is gzip and the topic does not say."),
		dynamic("compression.lz4.level", configkey.Int, "9", "The lz4 level, if compression.type is lz4 and the topic does not say."),
		dynamic("compression.type", configkey.String, "producer", "The codec records are stored in, if the topic does not say; producer keeps the producer's."),
		dynamic("compression.zstd.level", configkey.Int, "3", "The zstd level, if compression.type is zstd and the topic does not say."),
		dynamic("log.cleaner.backoff.ms", configkey.Long, "15000", idle).atLeast(0),
		dynamic("log.cleaner.dedupe.buffer.size", configkey.Long, "134217728", idle),
		dynamic("log.cleaner.delete.retention.ms", configkey.Long, "86400000", "How long tombstones outlive their compaction, in milliseconds, if the topic does not say."),
		fixed("log.cleaner.enable", configkey.Boolean, "true", idle),
		dynamic("log.cleaner.io.buffer.load.factor", configkey.Double, "0.9", idle),
		dynamic("log.cleaner.io.buffer.size", configkey.Int, "524288", idle).atLeast(0),
		dynamic("log.cleaner.io.max.bytes.per.second", configkey.Double, "1.7976931348623157E308", idle),
		dynamic("log.cleaner.max.compaction.lag.ms", configkey.Long, "9223372036854775807", "After how long a record must be eligible for compaction, in milliseconds, if the topic does not say."),
		dynamic("log.cleaner.min.cleanable.ratio", configkey.Double, "0.5", "The share of a log that must be dirty for it to be compacted, if the topic does not say."),
		dynamic("log.cleaner.min.compaction.lag.ms", configkey.Long, "0", "How long a record is safe from compaction, in milliseconds, if the topic does not say."),
		dynamic("log.cleaner.threads", configkey.Int, "1", idle).atLeast(0),
		dynamic("log.cleanup.policy", configkey.List, "delete", "What happens to old records, if the topic does not say: delete, compact, both, or none of them if empty."),
		dynamic("log.flush.interval.messages", configkey.Long, "9223372036854775807", idle),
		dynamic("log.flush.interval.ms", configkey.Long, null, idle),
		fixed("log.flush.offset.checkpoint.interval.ms", configkey.Int, "60000", idle),
		fixed("log.flush.scheduler.interval.ms", configkey.Long, "9223372036854775807", idle),
		fixed("log.flush.start.offset.checkpoint.interval.ms", configkey.Int, "60000", idle),
		dynamic("log.index.interval.bytes", configkey.Int, "4096", idle),
		dynamic("log.index.size.max.bytes", configkey.Int, "10485760", idle),
		dynamic("log.local.retention.bytes", configkey.Long, "-2", idle),
		dynamic("log.local.retention.ms", configkey.Long, "-2", idle),
		dynamic("log.message.timestamp.after.max.ms", configkey.Long, "3600000", "How far a record's timestamp may be in the future, in milliseconds, if the topic does not say."),
		dynamic("log.message.timestamp.before.max.ms", configkey.Long, "9223372036854775807", "How far a record's timestamp may be in the past, in milliseconds, if the topic does not say."),
		dynamic("log.message.timestamp.type", configkey.String, "CreateTime", "Whose clock stamps records, if the topic does not say: CreateTime or LogAppendTime."),
		dynamic("log.preallocate", configkey.Boolean, "false", idle),
		dynamic("log.retention.bytes", configkey.Long, "-1", "How many bytes of a partition are kept, if the topic does not say; -1 is no bound.").from(func(c *config.Config) string { return decimal(c.RetentionBytes) }),
		fixed("log.retention.check.interval.ms", configkey.Long, "300000", "Milliseconds between looks for what retention lets go.").from(func(c *config.Config) string { return millis(c.RetentionCheck) }),
		fixed("log.retention.hours", configkey.Int, "168", "How long records are kept, in hours, if neither log.retention.ms nor log.retention.minutes is set."),
		fixed("log.retention.minutes", configkey.Int, null, "How long records are kept, in minutes, if log.retention.ms is not set."),
		dynamic("log.retention.ms", configkey.Long, null, "How long records are kept, in milliseconds, if the topic does not say; -1 is for ever.").from(func(c *config.Config) string { return retentionMS(c) }),
		fixed("log.roll.hours", configkey.Int, "168", "The granularity of compaction by time, in hours, if log.roll.ms is not set."),
		fixed("log.roll.jitter.hours", configkey.Int, "0", "Jitter subtracted from log.roll.hours, in hours."),
		dynamic("log.roll.jitter.ms", configkey.Long, null, "Jitter subtracted from log.roll.ms, in milliseconds."),
		dynamic("log.roll.ms", configkey.Long, null, "The granularity of compaction by time, in milliseconds, if the topic does not say."),
		dynamic("log.segment.bytes", configkey.Int, "1073741824", "The largest record batch a topic takes, as it is stored, if the topic does not say."),
		dynamic("log.segment.delete.delay.ms", configkey.Long, "60000", idle),
		dynamic("message.max.bytes", configkey.Int, "1048588", "The largest record batch a topic takes, in bytes, if the topic does not say.").from(func(c *config.Config) string { return decimal(c.MessageMaxBytes) }),
	}
}
