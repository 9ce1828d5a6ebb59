// Package topicconfig is the table of Kafka's topic configs: names, types,
// defaults, the rules for their values, and the typed view that the log uses.
package topicconfig

import (
	"slices"
	"strconv"
	"strings"

	"github.com/karst-io/karst/internal/config/key"
)

// Key is one topic config.
type Key = configkey.Key

// The names that code refers to.
const (
	CleanupPolicy      = "cleanup.policy"
	CompressionType    = "compression.type"
	DeleteRetentionMS  = "delete.retention.ms"
	MaxCompactionLagMS = "max.compaction.lag.ms"
	MaxMessageBytes    = "max.message.bytes"
	AfterMaxMS         = "message.timestamp.after.max.ms"
	BeforeMaxMS        = "message.timestamp.before.max.ms"
	TimestampType      = "message.timestamp.type"
	DirtyRatio         = "min.cleanable.dirty.ratio"
	MinCompactionLagMS = "min.compaction.lag.ms"
	MinInSyncReplicas  = "min.insync.replicas"
	RetentionBytes     = "retention.bytes"
	RetentionMS        = "retention.ms"
	SegmentBytes       = "segment.bytes"
	SegmentMS          = "segment.ms"
	GzipLevel          = "compression.gzip.level"
	LZ4Level           = "compression.lz4.level"
	ZstdLevel          = "compression.zstd.level"
)

const (
	maxLong = "9223372036854775807"
	noMax   = configkey.NoMax
)

// Keys is the table, by name. The caller may change it.
func Keys() []Key {
	keys := slices.Concat(retentionKeys(), compactionKeys(), recordKeys(), storageKeys(), remoteKeys())
	slices.SortFunc(keys, func(a, b Key) int { return strings.Compare(a.Name, b.Name) })
	return keys
}

func retentionKeys() []Key {
	return []Key{
		configkey.Choice(CleanupPolicy, configkey.List, "delete", configkey.Honoured,
			"What happens to old records: delete, compact, both, or none of them if empty.",
			[]string{"compact", "delete"}, "log.cleanup.policy"),
		configkey.Number(RetentionMS, configkey.Long, "604800000", -1, noMax, configkey.Honoured,
			"How long records are kept, in milliseconds; -1 is for ever.",
			"log.retention.ms", "log.retention.minutes", "log.retention.hours"),
		configkey.Number(RetentionBytes, configkey.Long, "-1", configkey.NoMin, noMax, configkey.Honoured,
			"How many bytes of a partition are kept; negative is no bound.", "log.retention.bytes"),
		configkey.Number(SegmentBytes, configkey.Int, "1073741824", 1<<20, noMax, configkey.Honoured,
			"The largest record batch, as it is stored, in bytes; in Kafka also the granularity of retention.", "log.segment.bytes"),
		configkey.Number(SegmentMS, configkey.Long, "604800000", 1, noMax, configkey.Later,
			"The granularity of compaction by time, in milliseconds.", "log.roll.ms", "log.roll.hours"),
		configkey.Number("segment.jitter.ms", configkey.Long, "0", 0, noMax, configkey.Echoed,
			"Jitter subtracted from segment.ms, in milliseconds.", "log.roll.jitter.ms", "log.roll.jitter.hours"),
	}
}

func compactionKeys() []Key {
	return []Key{
		configkey.Number(DeleteRetentionMS, configkey.Long, "86400000", 0, noMax, configkey.Later,
			"How long tombstones outlive their compaction, in milliseconds.", "log.cleaner.delete.retention.ms"),
		configkey.Number(MinCompactionLagMS, configkey.Long, "0", 0, noMax, configkey.Later,
			"How long a record is safe from compaction, in milliseconds.", "log.cleaner.min.compaction.lag.ms"),
		configkey.Number(MaxCompactionLagMS, configkey.Long, maxLong, 1, noMax, configkey.Later,
			"After how long a record must be eligible for compaction, in milliseconds.", "log.cleaner.max.compaction.lag.ms"),
		configkey.Number(DirtyRatio, configkey.Double, "0.5", 0, 1, configkey.Later,
			"The share of a log that must be dirty for it to be compacted.", "log.cleaner.min.cleanable.ratio"),
	}
}

func recordKeys() []Key {
	return []Key{
		configkey.Number(MaxMessageBytes, configkey.Int, "1048588", 0, noMax, configkey.Honoured,
			"The largest record batch, compressed, in bytes.", "message.max.bytes"),
		configkey.Choice(TimestampType, configkey.String, "CreateTime", configkey.Honoured,
			"Whose clock stamps records: CreateTime or LogAppendTime.",
			[]string{"CreateTime", "LogAppendTime"}, "log.message.timestamp.type"),
		configkey.Number(BeforeMaxMS, configkey.Long, maxLong, 0, noMax, configkey.Honoured,
			"How far a record's timestamp may be in the past, in milliseconds.", "log.message.timestamp.before.max.ms"),
		configkey.Number(AfterMaxMS, configkey.Long, "3600000", 0, noMax, configkey.Honoured,
			"How far a record's timestamp may be in the future, in milliseconds.", "log.message.timestamp.after.max.ms"),
		configkey.Choice(CompressionType, configkey.String, "producer", configkey.Honoured,
			"The codec records are stored in; producer keeps the producer's.",
			[]string{"uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"}, CompressionType),
		{
			Name: GzipLevel, Kind: configkey.Int, Default: "-1", Effect: configkey.Honoured, Min: configkey.NoMin, Max: noMax, Check: gzipLevel, Server: []string{GzipLevel},
			Doc: "The gzip level, if compression.type is gzip: 1 to 9, or -1 for the default.",
		},
		configkey.Number(LZ4Level, configkey.Int, "9", 1, 17, configkey.Honoured, "The lz4 level, if compression.type is lz4.", LZ4Level),
		configkey.Number(ZstdLevel, configkey.Int, "3", -131072, 22, configkey.Honoured, "The zstd level, if compression.type is zstd.", ZstdLevel),
	}
}

func storageKeys() []Key {
	return []Key{
		configkey.Number(MinInSyncReplicas, configkey.Int, "1", 1, noMax, configkey.Echoed,
			"Always satisfied: a record is acknowledged when the bucket has it.", MinInSyncReplicas),
		configkey.Number("segment.index.bytes", configkey.Int, "10485760", 4, noMax, configkey.Echoed, "The size of an index file, in bytes.", "log.index.size.max.bytes"),
		configkey.Number("index.interval.bytes", configkey.Int, "4096", 0, noMax, configkey.Echoed, "Bytes between index entries.", "log.index.interval.bytes"),
		configkey.Number("flush.messages", configkey.Long, maxLong, 1, noMax, configkey.Echoed, "Records between forced flushes.", "log.flush.interval.messages"),
		configkey.Number("flush.ms", configkey.Long, maxLong, 0, noMax, configkey.Echoed, "Milliseconds between forced flushes.", "log.flush.interval.ms", "log.flush.scheduler.interval.ms"),
		configkey.Number("file.delete.delay.ms", configkey.Long, "60000", 0, noMax, configkey.Echoed, "Milliseconds before a file is deleted.", "log.segment.delete.delay.ms"),
		configkey.Flag("preallocate", "Whether files are preallocated.", "log.preallocate"),
		configkey.Flag("unclean.leader.election.enable", "No replica is ever behind: elections are clean.", "unclean.leader.election.enable"),
		{
			Name: leaderThrottled, Kind: configkey.List, Effect: configkey.Echoed, Check: throttledReplicas(leaderThrottled),
			Doc: "Replicas throttled on the leader: partition:broker pairs, or *.",
		},
		{
			Name: followerThrottled, Kind: configkey.List, Effect: configkey.Echoed, Check: throttledReplicas(followerThrottled),
			Doc: "Replicas throttled on the follower: partition:broker pairs, or *.",
		},
	}
}

func remoteKeys() []Key {
	remote := configkey.Flag("remote.storage.enable", "Tiered storage; true is refused, for every byte is in the bucket already.")
	remote.Check = func(v string) string {
		if strings.EqualFold(v, "true") {
			return "Tiered Storage functionality is disabled in the broker. Topic cannot be configured with remote log storage."
		}
		return ""
	}
	return []Key{
		remote,
		configkey.Number("local.retention.ms", configkey.Long, "-2", -2, noMax, configkey.Echoed, "Local retention with tiered storage, in milliseconds.", "log.local.retention.ms"),
		configkey.Number("local.retention.bytes", configkey.Long, "-2", -2, noMax, configkey.Echoed, "Local retention with tiered storage, in bytes.", "log.local.retention.bytes"),
		configkey.Flag("remote.log.copy.disable", "Whether tiered data is read-only."),
		configkey.Flag("remote.log.delete.on.disable", "Whether tiered data is deleted when tiering is disabled."),
	}
}

func gzipLevel(v string) string {
	if n, _ := strconv.Atoi(v); n != -1 && (n < 1 || n > 9) {
		return configkey.Invalid(GzipLevel, v, "Value must be between 1 and 9 or equal to -1")
	}
	return ""
}

const (
	leaderThrottled   = "leader.replication.throttled.replicas"
	followerThrottled = "follower.replication.throttled.replicas"
)

// throttledReplicas checks a list of partition:broker pairs, or "*".
func throttledReplicas(name string) func(v string) string {
	return func(v string) string {
		if v == "" || v == "*" {
			return ""
		}
		for pair := range strings.SplitSeq(v, ",") {
			p, b, ok := strings.Cut(pair, ":")
			if !ok || !digits(p) || !digits(b) {
				return configkey.Invalid(name, "["+strings.ReplaceAll(v, ",", ", ")+"]",
					name+" must be the literal '*' or a list of replicas in the following format: [partitionId]:[brokerId],[partitionId]:[brokerId],...")
			}
		}
		return ""
	}
}

func digits(s string) bool {
	return s != "" && strings.Trim(s, "0123456789") == ""
}
