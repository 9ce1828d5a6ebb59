package record

import (
	"math"
	"testing"
)

// TestStoredAsTheTopicWants goes from every codec to every other on a topic with
// LogAppendTime: records are as they were but for their times, and the CRC is
// that of what is stored.
func TestStoredAsTheTopicWants(t *testing.T) {
	v := NewValidator(NewCodecs(Limits{}))
	for _, from := range allCodecs {
		for _, to := range allCodecs {
			all := samples(50, 200)
			b := build(t, from, all)
			r := rules()
			r.LogAppendTime, r.Now, r.Recode, r.Codec = true, now+12345, true, to
			got, err := v.Validate(b, r)
			if err != nil {
				t.Fatalf("%d to %d: %v", from, to, err)
			}
			i := got.Info
			if got.Reencoded != (from != to) || i.Attributes.Codec() != to || !i.Attributes.LogAppendTime() || i.MaxTimestamp != r.Now || i.MaxDelta != 0 || i.CRC != checksum(got.Bytes) {
				t.Errorf("%d to %d: %+v", from, to, i)
			}
			for n := range all {
				all[n].ts = r.Now
			}
			if !sameAll(read(t, got.Bytes), all) {
				t.Errorf("%d to %d: other records", from, to)
			}
		}
	}
}

// TestLevelsAloneRecodeNothing keeps a producer's batch in the topic's codec as
// it is, whatever the level, as Kafka does.
func TestLevelsAloneRecodeNothing(t *testing.T) {
	v := NewValidator(NewCodecs(Limits{}))
	for codec, level := range map[Codec]int{Gzip: 9, LZ4: 17, Zstd: 19} {
		b := build(t, codec, samples(50, 200))
		r := rules()
		r.Recode, r.Codec, r.Level = true, codec, level
		if got, err := v.Validate(b, r); err != nil || got.Reencoded || &got.Bytes[0] != &b[0] {
			t.Errorf("codec %d: %v", codec, err)
		}
	}
}

// TestEveryLevelWorks has a batch be read again after the lowest and the highest
// levels that a topic may have.
func TestEveryLevelWorks(t *testing.T) {
	v := NewValidator(NewCodecs(Limits{}))
	for codec, levels := range map[Codec][]int{Gzip: {0, 1, 9}, LZ4: {0, 1, 8, 9, 10, 17}, Zstd: {-131072, -1, 0, 1, 22}} {
		for _, level := range levels {
			all := samples(50, 200)
			r := rules()
			r.Recode, r.Codec, r.Level, r.MaxBytes = true, codec, level, math.MaxInt32
			got, err := v.Validate(build(t, None, all), r)
			if err != nil || !sameAll(read(t, got.Bytes), all) {
				t.Errorf("codec %d, level %d: %v", codec, level, err)
			}
		}
	}
}
