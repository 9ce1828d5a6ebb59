package brokerconfig

import (
	"github.com/karst-io/karst/internal/config"
	"github.com/karst-io/karst/internal/config/key"
)

// replicationKeys are the configs about replication, the quorum and disks, which a broker over a bucket has none of.
func replicationKeys() []Key {
	const idle = "Shown for tools: there are no replicas, no quorum and no disks here."
	return []Key{
		fixed("auto.leader.rebalance.enable", configkey.Boolean, "true", idle),
		fixed("broker.heartbeat.interval.ms", configkey.Int, "2000", idle),
		fixed("broker.session.timeout.ms", configkey.Int, "9000", idle),
		fixed("controlled.shutdown.enable", configkey.Boolean, "true", idle),
		fixed("controller.listener.names", configkey.List, null, "The listener of controllers; here a name, for every broker takes every administrative request.").from(func(c *config.Config) string { return "CONTROLLER" }),
		fixed("controller.quorum.append.linger.ms", configkey.Int, "25", idle),
		fixed("controller.quorum.auto.join.enable", configkey.Boolean, "false", idle),
		fixed("controller.quorum.bootstrap.servers", configkey.List, "", idle),
		fixed("controller.quorum.election.backoff.max.ms", configkey.Int, "1000", idle),
		fixed("controller.quorum.election.timeout.ms", configkey.Int, "1000", idle),
		fixed("controller.quorum.fetch.max.bytes", configkey.Int, "1048576", idle),
		fixed("controller.quorum.fetch.snapshot.max.bytes", configkey.Int, "1048576", idle),
		fixed("controller.quorum.fetch.timeout.ms", configkey.Int, "2000", idle),
		fixed("controller.quorum.request.timeout.ms", configkey.Int, "2000", idle),
		fixed("controller.quorum.retry.backoff.ms", configkey.Int, "20", idle),
		fixed("controller.quorum.voters", configkey.List, "", idle),
		fixed("controller.socket.timeout.ms", configkey.Int, "30000", idle),
		perBroker("cordoned.log.dirs", configkey.List, "", idle),
		fixed("default.replication.factor", configkey.Int, "1", "Replication factor of a topic whose creator does not say; it is a name, the bucket is the replica.").from(func(c *config.Config) string { return decimal(c.ReplicationFactor) }),
		fixed("early.start.listeners", configkey.List, null, idle),
		dynamic("follower.fetch.last.tiered.offset.enable", configkey.Boolean, "false", idle),
		fixed("initial.broker.registration.timeout.ms", configkey.Int, "60000", idle),
		fixed("leader.imbalance.check.interval.seconds", configkey.Long, "300", idle),
		fixed("log.dir", configkey.List, "/tmp/kafka-logs", "The folder logs are in, if log.dirs is not set; here a name, for records are in the bucket."),
		fixed("log.dir.failure.timeout.ms", configkey.Long, "30000", idle),
		fixed("log.dirs", configkey.List, null, "The folder logs are in; here a name, for records are in the bucket."),
		fixed("metadata.log.dir", configkey.String, null, idle),
		fixed("metadata.log.max.record.bytes.between.snapshots", configkey.Long, "20971520", idle),
		fixed("metadata.log.max.snapshot.interval.ms", configkey.Long, "3600000", idle),
		fixed("metadata.log.segment.bytes", configkey.Int, "1073741824", idle),
		fixed("metadata.log.segment.ms", configkey.Long, "604800000", idle),
		fixed("metadata.max.idle.interval.ms", configkey.Int, "500", idle),
		fixed("metadata.max.retention.bytes", configkey.Long, "104857600", idle),
		fixed("metadata.max.retention.ms", configkey.Long, "604800000", idle),
		dynamic("min.insync.replicas", configkey.Int, "1", "Always satisfied: a record is acknowledged when the bucket has it."),
		dynamic("num.recovery.threads.per.data.dir", configkey.Int, "2", idle).atLeast(1),
		fixed("num.replica.alter.log.dirs.threads", configkey.Int, null, idle),
		dynamic("num.replica.fetchers", configkey.Int, "1", idle).atLeast(1),
		fixed("process.roles", configkey.List, null, "What this process does: here always broker.").from(func(c *config.Config) string { return "broker" }),
		fixed("replica.fetch.backoff.ms", configkey.Int, "1000", idle),
		fixed("replica.fetch.max.bytes", configkey.Int, "1048576", idle),
		fixed("replica.fetch.min.bytes", configkey.Int, "1", idle),
		fixed("replica.fetch.response.max.bytes", configkey.Int, "10485760", idle),
		fixed("replica.fetch.wait.max.ms", configkey.Int, "500", idle),
		fixed("replica.high.watermark.checkpoint.interval.ms", configkey.Long, "5000", idle),
		fixed("replica.lag.time.max.ms", configkey.Long, "30000", idle),
		fixed("replica.selector.class", configkey.String, null, idle),
		fixed("replica.socket.receive.buffer.bytes", configkey.Int, "65536", idle),
		fixed("replica.socket.timeout.ms", configkey.Int, "30000", idle),
		dynamic("unclean.leader.election.enable", configkey.Boolean, "false", "No replica is ever behind, so elections are always clean."),
	}
}
