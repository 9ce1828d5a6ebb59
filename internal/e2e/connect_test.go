package e2e

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"testing"
	"time"
)

const stringConverter = "org.apache.kafka.connect.storage.StringConverter"

func workerConfig(addr string, rest int) []string {
	return []string{
		"bootstrap.servers=" + addr, "listeners=HTTP://" + address(rest), "offset.flush.interval.ms=1000",
		"consumer.session.timeout.ms=6000", // that of sinks, which counts when a worker is killed
		"key.converter=" + stringConverter, "value.converter=" + stringConverter,
	}
}

func sourceConfig(file, topic string) map[string]string {
	return map[string]string{
		"name": "source", "connector.class": "FileStreamSource", "tasks.max": "1", "file": file, "topic": topic,
		"topic.creation.default.replication.factor": "3", "topic.creation.default.partitions": "1",
	}
}

func sinkConfig(file, topic string) map[string]string {
	return map[string]string{"name": "sink", "connector.class": "FileStreamSink", "tasks.max": "1", "file": file, "topics": topic}
}

// lineOf is a connector's config as lines of a properties file.
func lineOf(config map[string]string) (lines []string) {
	for k, v := range config {
		lines = append(lines, k+"="+v)
	}
	return lines
}

// TestConnect lets Kafka Connect carry the lines of a file through a topic into
// another file, with the broker and the workers being killed: every line arrives.
func TestConnect(t *testing.T) {
	d := soaking(t)
	n := newNode(t, oneStore(t), "--group.initial.rebalance.delay=0s", "--flush.interval=2s")
	p := n.startReady()
	for _, mode := range []struct {
		name  string
		start func(t *testing.T, addr, in, out string) []*jvm
	}{{"standalone", standalone}, {"distributed", distributed}} {
		t.Run(mode.name, func(t *testing.T) {
			dir := t.TempDir()
			in, out := filepath.Join(dir, "in"), filepath.Join(dir, "out")
			written := fileFlow(t, in)
			workers := mode.start(t, n.addr(), in, out)
			flows(t, "a line", func() (bool, error) {
				a, err := arrived(out)
				return err == nil && a.least > 0, err
			}, workers...)
			var did string
			p, did = disorder(t, n, p, d/2, workers...)
			count := written.end()
			within(t, arriveMax, "all lines", func() error {
				time.Sleep(100 * time.Millisecond)
				a, err := arrived(out)
				if err != nil {
					return err
				}
				return a.complete(count)
			})
			a, err := arrived(out)
			if err != nil {
				t.Fatal(err)
			}
			for _, w := range workers {
				w.alive()
				w.stop()
			}
			t.Logf("%s: %d lines, all arrived, %d of them again; %s", mode.name, count, a.twice, did)
		})
	}
}

func standalone(t *testing.T, addr, in, out string) []*jvm {
	t.Helper()
	offsets := "offset.storage.file.filename=" + filepath.Join(t.TempDir(), "offsets")
	worker := properties(t, "worker.properties", append(workerConfig(addr, freePort(t)), offsets)...)
	source := properties(t, "source.properties", lineOf(sourceConfig(in, "connect-standalone"))...)
	sink := properties(t, "sink.properties", lineOf(sinkConfig(out, "connect-standalone"))...)
	j := newJVM(t, "connect-standalone", func() []string {
		return []string{"org.apache.kafka.connect.cli.ConnectStandalone", worker, source, sink}
	})
	j.start()
	return []*jvm{j}
}

// distributed starts two workers, which share the connectors; what they know is
// in topics, of which they want three replicas.
func distributed(t *testing.T, addr, in, out string) (workers []*jvm) {
	t.Helper()
	var rest []int
	for k := range 2 {
		rest = append(rest, freePort(t))
		config := append(workerConfig(addr, rest[k]), "group.id=connect", "scheduled.rebalance.max.delay.ms=3000", "session.timeout.ms=6000", "heartbeat.interval.ms=1000")
		for _, topic := range []string{"config", "offset", "status"} {
			config = append(config, topic+".storage.topic=connect-"+topic, topic+".storage.replication.factor=3")
		}
		worker := properties(t, "worker.properties", config...)
		j := newJVM(t, fmt.Sprintf("connect-distributed-%d", k), func() []string {
			return []string{"org.apache.kafka.connect.cli.ConnectDistributed", worker}
		})
		j.start()
		workers = append(workers, j)
	}
	for _, config := range []map[string]string{sourceConfig(in, "connect-distributed"), sinkConfig(out, "connect-distributed")} {
		within(t, arriveMax, "creating a connector", func() error {
			for _, j := range workers {
				j.alive()
			}
			time.Sleep(200 * time.Millisecond)
			return putConnector(rest[0], config)
		})
	}
	return workers
}

func putConnector(rest int, config map[string]string) error {
	body, err := json.Marshal(config)
	if err != nil {
		return err
	}
	request, err := http.NewRequest(http.MethodPut, "http://"+address(rest)+"/connectors/"+config["name"]+"/config", bytes.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	answer, err := web.Do(request)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if answer.StatusCode >= http.StatusMultipleChoices {
		text, _ := io.ReadAll(io.LimitReader(answer.Body, 1<<12))
		return fmt.Errorf("%s: %s", answer.Status, text)
	}
	return nil
}
