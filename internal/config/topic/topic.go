package topicconfig

import (
	"strconv"
	"strings"
)

// Topic is the typed view of a topic's configs that the log works with.
type Topic struct {
	Delete  bool // cleanup.policy
	Compact bool

	RetentionMS    int64 // -1: for ever
	RetentionBytes int64 // negative: no bound
	SegmentBytes   int64
	SegmentMS      int64

	MaxMessageBytes int64
	LogAppendTime   bool   // message.timestamp.type
	BeforeMaxMS     int64  // message.timestamp.before.max.ms
	AfterMaxMS      int64  // message.timestamp.after.max.ms
	Compression     string // producer, uncompressed, gzip, snappy, lz4 or zstd
	GzipLevel       int    // -1: the codec's default
	LZ4Level        int
	ZstdLevel       int

	DeleteRetentionMS  int64
	MinCompactionLagMS int64
	MaxCompactionLagMS int64
	DirtyRatio         float64
	MinInSyncReplicas  int32
}

// Parse makes the typed view of explicit configs over the defaults. It expects
// validated configs: a value that does not parse counts as the default, so that
// what a newer broker has stored never stops an older one. Defaults that the
// broker sets go into explicit, below the topic's own.
func Parse(explicit map[string]string) Topic {
	values := map[string]string{}
	for _, k := range Keys() {
		values[k.Name] = k.Default
		if v, ok := explicit[k.Name]; ok {
			if printed, fault := k.Parse(v); fault == "" {
				values[k.Name] = printed
			}
		}
	}
	long := func(name string) int64 {
		n, err := strconv.ParseInt(values[name], 10, 64)
		if err != nil {
			panic("BUG: default of " + name + " is not a number")
		}
		return n
	}
	ratio, err := strconv.ParseFloat(values[DirtyRatio], 64)
	if err != nil {
		panic("BUG: default of " + DirtyRatio + " is not a number")
	}
	return Topic{
		Delete:             strings.Contains(values[CleanupPolicy], "delete"),
		Compact:            strings.Contains(values[CleanupPolicy], "compact"),
		RetentionMS:        long(RetentionMS),
		RetentionBytes:     long(RetentionBytes),
		SegmentBytes:       long(SegmentBytes),
		SegmentMS:          long(SegmentMS),
		MaxMessageBytes:    long(MaxMessageBytes),
		LogAppendTime:      values[TimestampType] == "LogAppendTime",
		BeforeMaxMS:        long(BeforeMaxMS),
		AfterMaxMS:         long(AfterMaxMS),
		Compression:        values[CompressionType],
		GzipLevel:          int(long(GzipLevel)),
		LZ4Level:           int(long(LZ4Level)),
		ZstdLevel:          int(long(ZstdLevel)),
		DeleteRetentionMS:  long(DeleteRetentionMS),
		MinCompactionLagMS: long(MinCompactionLagMS),
		MaxCompactionLagMS: long(MaxCompactionLagMS),
		DirtyRatio:         ratio,
		MinInSyncReplicas:  int32(long(MinInSyncReplicas)),
	}
}
