#!/bin/sh
# Runs Apache Kafka beside Karst, to be measured against: one KRaft node on a
# loopback port, from the jars of Maven Central (needs JDK 17 and Maven).
#
#   scripts/kafka-peer.sh start DIR PORT   formats DIR if needed, starts a broker
#                                          on 127.0.0.1:PORT (its controller takes
#                                          PORT+1), prints its process id
#   scripts/kafka-peer.sh stop DIR         stops that process and waits for it
#   scripts/kafka-peer.sh classpath        prints the class path, for Kafka's tools
#
# KAFKA_VERSION     the version, 4.3.0 by default
# KAFKA_JARS        where jars are kept, by default below the user's cache folder
# KAFKA_HEAP        the heap, 1g by default
# KAFKA_PROPERTIES  a file of further broker properties, e.g. one that says
#                   log.flush.interval.messages=1
# KAFKA_MESSAGE_MAX the broker's message.max.bytes, 32 MiB by default; empty for
#                   Kafka's own default
# KAFKA_PREFIX      a command to start the JVM under, e.g. "taskset -c 0"
set -eu

usage() { sed -n '2,19s/^# \{0,1\}//p' "$0" >&2; exit 2; }
fail() { echo "kafka-peer.sh: $*" >&2; exit 1; }

version=${KAFKA_VERSION:-4.3.0}
message_max=${KAFKA_MESSAGE_MAX-33554432}
jars=${KAFKA_JARS:-${XDG_CACHE_HOME:-$HOME/.cache}/karst/kafka-$version}

# fetch copies the broker, its command line tools and a logger into $jars. A
# folder is complete when it holds the file "complete".
fetch() {
	[ -e "$jars/complete" ] && return
	command -v mvn >/dev/null || fail "Maven is missing; install it, or point KAFKA_JARS at a folder of jars that holds a file named complete"
	mkdir -p "$jars"
	cat >"$jars/pom.xml" <<-POM
		<project>
		  <modelVersion>4.0.0</modelVersion>
		  <groupId>karst</groupId><artifactId>kafka-peer</artifactId><version>1</version><packaging>pom</packaging>
		  <dependencies>
		    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>$version</version></dependency>
		    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka-tools</artifactId><version>$version</version></dependency>
		    <dependency><groupId>org.apache.logging.log4j</groupId><artifactId>log4j-slf4j-impl</artifactId><version>2.25.4</version></dependency>
		  </dependencies>
		</project>
	POM
	echo "kafka-peer.sh: fetching Apache Kafka $version into $jars" >&2
	mvn -q -B -f "$jars/pom.xml" dependency:copy-dependencies -DoutputDirectory="$jars/lib" >&2 ||
		fail "Maven could not fetch Apache Kafka $version"
	touch "$jars/complete"
}

# alive says whether the process in the pid file is still our broker, and not
# another process that was given its number.
alive() {
	[ -e "$dir/pid" ] || return 1
	pid=$(cat "$dir/pid")
	[ -r "/proc/$pid/cmdline" ] && tr '\0' ' ' <"/proc/$pid/cmdline" | grep -q -F "kafka.Kafka $dir/server.properties"
}

configure() {
	controller=$((port + 1))
	cat >"$dir/server.properties" <<-PROPERTIES
		process.roles=broker,controller
		node.id=1
		controller.quorum.voters=1@127.0.0.1:$controller
		listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$controller
		advertised.listeners=PLAINTEXT://127.0.0.1:$port
		controller.listener.names=CONTROLLER
		listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
		inter.broker.listener.name=PLAINTEXT
		log.dirs=$dir/data
		num.partitions=1
		offsets.topic.replication.factor=1
		offsets.topic.num.partitions=1
		transaction.state.log.replication.factor=1
		transaction.state.log.min.isr=1
		share.coordinator.state.topic.replication.factor=1
		share.coordinator.state.topic.min.isr=1
		group.initial.rebalance.delay.ms=0
	PROPERTIES
	[ -z "$message_max" ] || echo "message.max.bytes=$message_max" >>"$dir/server.properties"
	[ -z "${KAFKA_PROPERTIES:-}" ] || cat "$KAFKA_PROPERTIES" >>"$dir/server.properties"
	cat >"$dir/log4j2.properties" <<-LOG4J
		rootLogger.level=warn
		rootLogger.appenderRef.out.ref=out
		appender.out.type=Console
		appender.out.name=out
		appender.out.layout.type=PatternLayout
		appender.out.layout.pattern=%d %p %m (%c)%n
	LOG4J
}

start() {
	mkdir -p "$dir"
	dir=$(cd "$dir" && pwd)
	if alive; then fail "a broker runs on $dir already, process $pid"; fi
	fetch
	configure
	java="java -cp $jars/lib/* -Dlog4j2.configurationFile=$dir/log4j2.properties"
	set -f # the class path's star is the JVM's
	if [ ! -e "$dir/data/meta.properties" ]; then
		# A cluster id is 16 bytes in base64.
		$java kafka.tools.StorageTool format -t a2Fyc3QtcGVlci1rYWZrYQ -c "$dir/server.properties" >"$dir/format.log" 2>&1 ||
			{ cat "$dir/format.log" >&2; fail "formatting failed"; }
	fi
	heap=${KAFKA_HEAP:-1g}
	# The garbage collector's settings are those of Kafka's own start script.
	nohup ${KAFKA_PREFIX:-} $java -server -Xms"$heap" -Xmx"$heap" -XX:+UseG1GC -XX:MaxGCPauseMillis=20 \
		-XX:InitiatingHeapOccupancyPercent=35 -XX:+ExplicitGCInvokesConcurrent -Djava.awt.headless=true \
		kafka.Kafka "$dir/server.properties" >"$dir/log" 2>&1 </dev/null &
	echo $! >"$dir/pid"
	tries=0
	until listening "$port"; do
		tries=$((tries + 1))
		if [ $tries -gt 300 ] || ! kill -0 "$(cat "$dir/pid")" 2>/dev/null; then
			tail -20 "$dir/log" >&2
			fail "the broker did not start; its log is $dir/log"
		fi
		sleep 0.2
	done
	cat "$dir/pid"
}

# listening reads the kernel's table of sockets: state 0A is LISTEN. The JVM
# listens on an IPv4-mapped address, so both tables count.
listening() {
	cat /proc/net/tcp /proc/net/tcp6 2>/dev/null | awk -v p="$(printf ':%04X' "$1")" '$4 == "0A" && substr($2, length($2)-4) == p { found = 1 } END { exit !found }'
}

stop() {
	[ -d "$dir" ] || fail "$dir is no folder"
	dir=$(cd "$dir" && pwd)
	alive || fail "no broker of this script runs on $dir"
	kill "$pid"
	tries=0
	while alive; do
		tries=$((tries + 1))
		if [ $tries -eq 100 ]; then kill -9 "$pid"; fi
		[ $tries -gt 150 ] && fail "process $pid does not end"
		sleep 0.2
	done
	rm -f "$dir/pid"
}

case ${1:-} in
start)
	[ $# -eq 3 ] || usage
	dir=$2 port=$3
	start
	;;
stop)
	[ $# -ge 2 ] || usage
	dir=$2
	stop
	;;
classpath)
	fetch
	echo "$jars/lib/*"
	;;
*) usage ;;
esac
