package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// newKafkaFleet is a cluster of Apache Kafka (scripts/kafka-peer.sh fetches it), of
// brokers that are controllers, too, on the hosts of a fleet, each with a disk of
// its own that stays. Its timeouts are Kafka's defaults.
func newKafkaFleet(t *testing.T, spec fleetSpec) *fleet {
	t.Helper()
	spec.s3 = false
	f := newFleet(t, spec)
	f.kafka = true
	jars := strings.TrimSpace(string(run(t, 10*time.Minute, "../../scripts/kafka-peer.sh", "classpath")))
	const controllerPort = peerPort
	voters := make([]string, 0, len(f.nodes))
	ports := make([]int, 0, len(f.nodes))
	for k, n := range f.nodes {
		port := controllerPort
		if !f.net.real() {
			port = freePort(t)
		}
		ports = append(ports, port)
		voters = append(voters, fmt.Sprintf("%d@%s", k+1, n.at(port)))
	}
	logging := filepath.Join(t.TempDir(), "log4j2.properties")
	write(t, logging, `rootLogger.level=warn
rootLogger.appenderRef.out.ref=out
appender.out.type=Console
appender.out.name=out
appender.out.layout.type=PatternLayout
appender.out.layout.pattern=%d %p %m (%c)%n
`)
	for k, n := range f.nodes {
		dir := t.TempDir()
		path := filepath.Join(dir, "server.properties")
		write(t, path, fmt.Sprintf(`process.roles=broker,controller
node.id=%d
controller.quorum.voters=%s
listeners=PLAINTEXT://%s,CONTROLLER://%s
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
log.dirs=%s/data
`, k+1, strings.Join(voters, ","), n.addr(), n.at(ports[k]), dir))
		run(t, time.Minute, "java", "-cp", jars, "-Dlog4j2.configurationFile="+logging, "kafka.tools.StorageTool", "format", "-t", "a2Fyc3QtcGVlci1rYWZrYQ", "-c", path)
		n.other = func() (string, []string) {
			return "java", []string{
				"-cp", jars, "-Dlog4j2.configurationFile=" + logging, "-server", "-Xms512m", "-Xmx512m", "-XX:+UseG1GC",
				"-XX:MaxGCPauseMillis=20", "-Djava.awt.headless=true", "kafka.Kafka", path,
			}
		}
	}
	return f
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// kafkaController is the active controller of a fleet of Apache Kafka.
func (f *fleet) kafkaController() (int, error) {
	req := kmsg.NewPtrDescribeQuorumRequest()
	topic := kmsg.NewDescribeQuorumRequestTopic()
	topic.Topic = "__cluster_metadata"
	topic.Partitions = append(topic.Partitions, kmsg.NewDescribeQuorumRequestTopicPartition())
	req.Topics = append(req.Topics, topic)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	resp, err := req.RequestWith(ctx, f.adminClient)
	switch {
	case err != nil:
		return 0, err
	case resp.ErrorCode != 0 || len(resp.Topics) != 1 || len(resp.Topics[0].Partitions) != 1:
		return 0, fmt.Errorf("describing the quorum: error code %d", resp.ErrorCode)
	}
	return int(resp.Topics[0].Partitions[0].LeaderID) - 1, nil
}
