package brokerconfig

import (
	"strconv"

	"github.com/karst-io/karst/internal/config"
	"github.com/karst-io/karst/internal/config/key"
)

// serviceKeys are the configs about the broker as a service: listeners, limits, threads, metrics, quotas.
func serviceKeys() []Key {
	const idle = "Shown for tools, at the default of Apache Kafka."
	return []Key{
		fixed("advertised.listeners", configkey.List, null, "Where clients are told to connect."),
		fixed("alter.config.policy.class.name", configkey.Class, null, idle),
		fixed("alter.log.dirs.replication.quota.window.num", configkey.Int, "11", idle),
		fixed("alter.log.dirs.replication.quota.window.size.seconds", configkey.Int, "1", idle),
		fixed("auto.create.topics.enable", configkey.Boolean, "true", "Whether asking for a topic that does not exist creates it.").from(func(c *config.Config) string { return strconv.FormatBool(c.AutoCreateTopics) }),
		dynamic("background.threads", configkey.Int, "10", idle).atLeast(1),
		fixed("broker.id", configkey.Int, "-1", "The id of this broker in its cluster, by its old name.").from(func(c *config.Config) string { return decimal(c.BrokerID) }),
		fixed("broker.rack", configkey.String, null, "The zone this broker runs in.").from(func(c *config.Config) string { return c.Rack }),
		fixed("client.quota.callback.class", configkey.Class, null, idle),
		dynamic("config.providers", configkey.List, "", idle),
		fixed("connections.max.idle.ms", configkey.Long, "600000", "Milliseconds after which an idle connection is closed.").from(func(c *config.Config) string { return millis(c.ConnectionsIdleMax) }),
		fixed("controller.quota.window.num", configkey.Int, "11", idle),
		fixed("controller.quota.window.size.seconds", configkey.Int, "1", idle),
		fixed("create.topic.policy.class.name", configkey.Class, null, idle),
		fixed("delete.records.purgatory.purge.interval.requests", configkey.Int, "1", idle),
		fixed("delete.topic.enable", configkey.Boolean, "true", "Whether topics may be deleted.").from(func(c *config.Config) string { return strconv.FormatBool(c.DeleteTopics) }),
		fixed("fetch.max.bytes", configkey.Int, "57671680", idle),
		fixed("fetch.purgatory.purge.interval.requests", configkey.Int, "1000", idle),
		fixed("inter.broker.listener.name", configkey.String, null, "The listener brokers use among themselves; null is the one for clients."),
		fixed("kafka.metrics.polling.interval.secs", configkey.Int, "10", idle),
		fixed("kafka.metrics.reporters", configkey.List, "", idle),
		perBroker("listener.security.protocol.map", configkey.String, "SASL_SSL:SASL_SSL,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT", "The security protocol of each listener, by its name."),
		perBroker("listeners", configkey.List, "PLAINTEXT://:9092", "Where clients connect."),
		dynamic("max.connection.creation.rate", configkey.Int, "2147483647", "Accepted and shown; connections are not counted by the second.").atLeast(0),
		dynamic("max.connections", configkey.Int, "2147483647", "How many connections this broker takes at once.").atLeast(0).from(func(c *config.Config) string { return decimal(c.ConnectionsMax) }),
		dynamic("max.connections.per.ip", configkey.Int, "2147483647", "How many connections an address may have at once.").atLeast(0).from(func(c *config.Config) string { return perIP(c) }),
		dynamic("max.connections.per.ip.overrides", configkey.String, "", "How many connections some addresses may have at once, such as 10.0.0.1:100; names are refused.").checked(checkPerIP),
		fixed("max.incremental.fetch.session.cache.slots", configkey.Int, "1000", idle),
		fixed("max.request.partition.size.limit", configkey.Int, "2000", idle),
		dynamic("metric.reporters", configkey.List, "org.apache.kafka.common.metrics.JmxReporter", idle),
		fixed("metrics.num.samples", configkey.Int, "2", idle),
		fixed("metrics.recording.level", configkey.String, "INFO", idle),
		fixed("metrics.sample.window.ms", configkey.Long, "30000", idle),
		fixed("node.id", configkey.Int, null, "The id of this broker in its cluster.").from(func(c *config.Config) string { return decimal(c.BrokerID) }),
		dynamic("num.io.threads", configkey.Int, "8", idle).atLeast(1),
		dynamic("num.network.threads", configkey.Int, "3", idle).atLeast(1),
		fixed("num.partitions", configkey.Int, "1", "Partitions of a topic whose creator does not say.").from(func(c *config.Config) string { return decimal(c.Partitions) }),
		fixed("producer.purgatory.purge.interval.requests", configkey.Int, "1000", idle),
		fixed("queued.max.request.bytes", configkey.Long, "-1", idle),
		fixed("queued.max.requests", configkey.Int, "500", idle),
		fixed("quota.window.num", configkey.Int, "11", idle),
		fixed("quota.window.size.seconds", configkey.Int, "1", idle),
		fixed("replication.quota.window.num", configkey.Int, "11", idle),
		fixed("replication.quota.window.size.seconds", configkey.Int, "1", idle),
		fixed("request.timeout.ms", configkey.Int, "30000", idle),
		fixed("socket.connection.setup.timeout.max.ms", configkey.Long, "30000", idle),
		fixed("socket.connection.setup.timeout.ms", configkey.Long, "10000", idle),
		fixed("socket.listen.backlog.size", configkey.Int, "50", idle),
		fixed("socket.receive.buffer.bytes", configkey.Int, "102400", idle),
		fixed("socket.request.max.bytes", configkey.Int, "104857600", "The largest request, in bytes; a larger one closes its connection.").from(func(c *config.Config) string { return decimal(c.RequestMaxBytes) }),
		fixed("socket.send.buffer.bytes", configkey.Int, "102400", idle),
		fixed("telemetry.max.bytes", configkey.Int, "1048576", idle),
	}
}
