package topicconfig

import (
	"errors"
	"math"
	"strings"
	"testing"

	"github.com/karst-io/karst"
)

func TestDefaultsAreValid(t *testing.T) {
	defaults := map[string]string{}
	for _, k := range Keys() {
		defaults[k.Name] = k.Default
		if printed, fault := k.Parse(k.Default); fault != "" || printed != k.Default {
			t.Errorf("%s: default %q prints as %q, fault %q", k.Name, k.Default, printed, fault)
		}
		if k.Doc == "" {
			t.Errorf("%s has no doc", k.Name)
		}
	}
	if err := Validate(defaults); err != nil {
		t.Error(err)
	}
	if len(Keys()) != len(defaults) {
		t.Error("a name occurs twice")
	}
}

func TestValidate(t *testing.T) {
	for _, c := range []struct {
		name, value string
		ok          bool
	}{
		{"segment.bytes", "1048576", true},
		{"segment.bytes", "1048575", false},
		{"segment.bytes", "2147483648", false},
		{"retention.ms", "-1", true},
		{"retention.ms", "-2", false},
		{"retention.ms", " 5 ", true},
		{"retention.ms", "", false},
		{"retention.ms", "9223372036854775807", true},
		{"retention.ms", "9223372036854775808", false},
		{"retention.bytes", "-100", true},
		{"cleanup.policy", "compact,delete", true},
		{"cleanup.policy", "compact, delete", true},
		{"cleanup.policy", "Compact", false},
		{"cleanup.policy", "compact,,delete", false},
		{"cleanup.policy", "", true},
		{"cleanup.policy", "compact,compact", true},
		{"cleanup.policy", "compress", false},
		{"compression.type", "zstd", true},
		{"compression.type", "none", false},
		{"compression.gzip.level", "0", false},
		{"compression.gzip.level", "-1", true},
		{"compression.gzip.level", "10", false},
		{"compression.lz4.level", "18", false},
		{"message.timestamp.type", "LogAppendTime", true},
		{"message.timestamp.type", "logappendtime", false},
		{"min.cleanable.dirty.ratio", "1.1", false},
		{"min.cleanable.dirty.ratio", "NaN", false},
		{"min.cleanable.dirty.ratio", "1", true},
		{"min.compaction.lag.ms", maxLong, true},
		{"preallocate", "TRUE", true},
		{"preallocate", "1", false},
		{"remote.storage.enable", "true", false},
		{"remote.storage.enable", "false", true},
		{"leader.replication.throttled.replicas", "0:1,2:3", true},
		{"leader.replication.throttled.replicas", "*", true},
		{"leader.replication.throttled.replicas", "0:a", false},
		{"no.such.config", "1", false},
	} {
		err := Validate(map[string]string{c.name: c.value})
		if (err == nil) != c.ok {
			t.Errorf("%s=%q: %v", c.name, c.value, err)
		}
		if err != nil && !errors.Is(err, karst.InvalidConfig.Err()) {
			t.Errorf("%s=%q: not an InvalidConfig: %v", c.name, c.value, err)
		}
	}
}

func TestLagsConflict(t *testing.T) {
	err := Validate(map[string]string{"min.compaction.lag.ms": "10", "max.compaction.lag.ms": "9"})
	if err == nil || !strings.Contains(err.Error(), "conflict") {
		t.Errorf("got %v", err)
	}
}

func TestEffective(t *testing.T) {
	got := map[string]Entry{}
	for _, e := range Effective(map[string]string{"cleanup.policy": "compact , delete,compact", "min.cleanable.dirty.ratio": "1", "retention.ms": "+7"}) {
		got[e.Name] = e
	}
	for name, want := range map[string]string{
		"cleanup.policy": "compact,delete", "min.cleanable.dirty.ratio": "1.0", "retention.ms": "7", "segment.bytes": "1073741824",
	} {
		if got[name].Value != want {
			t.Errorf("%s is %q, want %q", name, got[name].Value, want)
		}
	}
	if !got["retention.ms"].Explicit || got["segment.bytes"].Explicit {
		t.Error("explicit configs are not told from defaults")
	}
}

func TestParse(t *testing.T) {
	d := Parse(nil)
	if !d.Delete || d.Compact || d.RetentionMS != 604800000 || d.BeforeMaxMS != math.MaxInt64 || d.Compression != "producer" || d.MaxMessageBytes != 1048588 {
		t.Errorf("defaults: %+v", d)
	}
	p := Parse(map[string]string{"cleanup.policy": "compact", "message.timestamp.type": "LogAppendTime", "retention.ms": "broken", "max.message.bytes": "5"})
	if p.Delete || !p.Compact || !p.LogAppendTime || p.RetentionMS != 604800000 || p.MaxMessageBytes != 5 {
		t.Errorf("parsed: %+v", p)
	}
}
