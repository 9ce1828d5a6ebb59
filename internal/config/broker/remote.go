package brokerconfig

import (
	"github.com/karst-io/karst/internal/config/key"
)

// remoteKeys are the configs about tiered storage, which is off: every byte is in the bucket already.
func remoteKeys() []Key {
	const idle = "Shown for tools: tiered storage is off, every byte is in the bucket already."
	return []Key{
		dynamic("remote.fetch.max.wait.ms", configkey.Int, "500", idle).atLeast(1),
		dynamic("remote.list.offsets.request.timeout.ms", configkey.Long, "30000", idle).atLeast(1),
		dynamic("remote.log.index.file.cache.total.size.bytes", configkey.Long, "1073741824", idle).atLeast(1),
		dynamic("remote.log.manager.copier.thread.pool.size", configkey.Int, "10", idle).atLeast(1),
		dynamic("remote.log.manager.copy.max.bytes.per.second", configkey.Long, "9223372036854775807", idle).atLeast(1),
		fixed("remote.log.manager.copy.quota.window.num", configkey.Int, "11", idle),
		fixed("remote.log.manager.copy.quota.window.size.seconds", configkey.Int, "1", idle),
		dynamic("remote.log.manager.expiration.thread.pool.size", configkey.Int, "10", idle).atLeast(1),
		dynamic("remote.log.manager.fetch.max.bytes.per.second", configkey.Long, "9223372036854775807", idle).atLeast(1),
		fixed("remote.log.manager.fetch.quota.window.num", configkey.Int, "11", idle),
		fixed("remote.log.manager.fetch.quota.window.size.seconds", configkey.Int, "1", idle),
		dynamic("remote.log.manager.follower.thread.pool.size", configkey.Int, "2", idle).atLeast(1),
		fixed("remote.log.manager.task.interval.ms", configkey.Long, "30000", idle),
		fixed("remote.log.manager.thread.pool.size", configkey.Int, "2", idle),
		fixed("remote.log.metadata.custom.metadata.max.bytes", configkey.Int, "128", idle),
		fixed("remote.log.metadata.manager.class.name", configkey.String, "org.apache.kafka.server.log.remote.metadata.storage.TopicBasedRemoteLogMetadataManager", idle),
		fixed("remote.log.metadata.manager.class.path", configkey.String, null, idle),
		fixed("remote.log.metadata.manager.impl.prefix", configkey.String, "rlmm.config.", idle),
		fixed("remote.log.metadata.manager.listener.name", configkey.String, null, idle),
		fixed("remote.log.reader.max.pending.tasks", configkey.Int, "100", idle),
		dynamic("remote.log.reader.threads", configkey.Int, "10", idle).atLeast(1),
		fixed("remote.log.storage.manager.class.name", configkey.String, null, idle),
		fixed("remote.log.storage.manager.class.path", configkey.String, null, idle),
		fixed("remote.log.storage.manager.impl.prefix", configkey.String, "rsm.config.", idle),
		fixed("remote.log.storage.system.enable", configkey.Boolean, "false", idle),
	}
}
