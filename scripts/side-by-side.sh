#!/bin/sh
# Measures Karst beside Apache Kafka on this machine: P1 and P2 of the goals, in
# turns, each broker on core 0 and the load on core 1.
#
#   scripts/side-by-side.sh DIR [mem|file]   writes DIR/*.json, DIR/beside-kafka.svg
#                                            and DIR/report.txt; needs two cores,
#                                            JDK 17, Maven and about 20 GB of disk
#
# mem (the default) gives Karst mem://, the store that costs nothing, and takes
# some 9 GB of memory; file gives it a folder, every acknowledgement synced.
# Kafka is on its own folder and does not sync. Both delete what is older than a
# second while producers are measured, so that neither is charged for memory that
# no one used before: on a virtual machine a first touch costs more than the copy.
#
# KARST        a built karst, otherwise it is built here
# ROUNDS       rounds of each comparison, 3 by default
# JAVA_RECORDS records of a round of the Java producer, 1,500,000 by default; four
#              rounds of each broker come before and do not count
# SECONDS_     the window of a produce round, 12 by default
set -eu

usage() { sed -n '2,20s/^# \{0,1\}//p' "$0" >&2; exit 2; }
[ $# -ge 1 ] || usage
root=$(cd "$(dirname "$0")/.." && pwd)
mkdir -p "$1"
out=$(cd "$1" && pwd)
store=${2:-mem}
rounds=${ROUNDS:-3}
window=${SECONDS_:-12}s
work=$(mktemp -d)
karst=

cleanup() {
	[ -z "$karst" ] || kill "$karst" 2>/dev/null || true
	"$root/scripts/kafka-peer.sh" stop "$work/kafka" >/dev/null 2>&1 || true
	[ -z "$karst" ] || wait "$karst" 2>/dev/null || true
	rm -rf "$work"
}
trap cleanup EXIT INT TERM

if [ -n "${KARST:-}" ]; then cp "$KARST" "$work/karst"; else (cd "$root" && go build -o "$work/karst" ./cmd/karst); fi
start() { # start MEMORY RETENTION_MS: both brokers, fresh
	cat >"$work/kafka.properties" <<-END
		log.retention.ms=$2
		log.retention.check.interval.ms=1000
		log.segment.bytes=67108864
		log.segment.delete.delay.ms=1000
	END
	KAFKA_PROPERTIES="$work/kafka.properties" KAFKA_PREFIX='taskset -c 0' "$root/scripts/kafka-peer.sh" start "$work/kafka" 27192 >/dev/null
	url=mem://
	[ "$store" = mem ] || url=file://$work/karst-data
	# Retention and collection belong to the figure, and keep the store small.
	taskset -c 0 "$work/karst" serve --store "$url" --listen 127.0.0.1:27292 --http 127.0.0.1:27293 --memory "$1" \
		--delete.grace 1s --log.retention.ms "$2" --log.retention.check.interval 1s --flush.interval 1s >"$out/karst.log" 2>&1 &
	karst=$!
	i=0
	until [ $i -ge 100 ] || curl -fs http://127.0.0.1:27293/readyz >/dev/null; do sleep 0.1; i=$((i + 1)); done
}
stop() {
	kill "$karst"
	wait "$karst" 2>/dev/null || true
	karst=
	"$root/scripts/kafka-peer.sh" stop "$work/kafka" >/dev/null
	rm -rf "$work/kafka" "$work/karst-data"
}
compare() { # compare NAME WORKLOAD FLAGS…
	name=$1
	shift
	echo "==== $name: $*" | tee -a "$out/report.txt"
	taskset -c 1 "$work/karst" bench compare --format json --rounds "$rounds" --rehearsals "$rehearsals" \
		--a-name karst --a-brokers 127.0.0.1:27292 --a-pid "$karst" \
		--b-name kafka --b-brokers 127.0.0.1:27192 --b-pid "$(cat "$work/kafka/pid")" \
		-- "$@" >"$out/$name.json" 2>>"$out/report.txt"
	tail -n $((2 * rounds)) "$out/report.txt"
}

ticks() { awk '{print $14 + $15}' "/proc/$1/stat"; }
java_round() { # java_round NAME PORT PID: one run of the unmodified Java producer
	before=$(ticks "$3")
	line=$(taskset -c 1 java -Xmx512m -cp "$classpath" org.apache.kafka.tools.ProducerPerformance \
		--topic java --num-records "$records" --record-size 1024 --throughput -1 \
		--producer-props bootstrap.servers="127.0.0.1:$2" acks=all | tail -1)
	echo "$1 $(($(ticks "$3") - before)) $line" | awk -v n="$records" -v hz="$(getconf CLK_TCK)" '
		{ match($0, /\([0-9.]+ MB\/sec\)/); mib = substr($0, RSTART + 1, RLENGTH - 9)
		  printf "java %-6s %6.1f MB/s %6.2f broker CPU-s/GB   %s\n", $1, mib * 1.048576, $2 / hz / (n * 1024 / 1e9), substr($0, index($0, "ms avg") - 8) }' | tee -a "$out/report.txt"
}
java_producer() { # the Java client is not ours to instrument: by the clock of its own tool
	classpath=$("$root/scripts/kafka-peer.sh" classpath)
	records=${JAVA_RECORDS:-1500000}
	echo "==== java: ProducerPerformance, its defaults, acks=all, $records records" | tee -a "$out/report.txt"
	for port in 27292 27192; do "$work/karst" bench raw --brokers 127.0.0.1:$port --topic java --keep --bytes 1MB --duration 0 >/dev/null; done
	i=-4
	while [ $i -lt "$rounds" ]; do # ABBA
		[ $i -ge 0 ] || echo "rehearsal" | tee -a "$out/report.txt"
		if [ $((i % 2)) = 0 ]; then order='karst kafka'; else order='kafka karst'; fi
		for who in $order; do
			if [ "$who" = karst ]; then java_round karst 27292 "$karst"; else java_round kafka 27192 "$(cat "$work/kafka/pid")"; fi
		done
		i=$((i + 1))
	done
}

: >"$out/report.txt"
start 8GiB 1000
rehearsals=5 # Kafka's code is compiled while it runs: a minute and more
compare raw raw --connections 4 --batch-bytes 16KiB --idempotent --duration "$window"
rehearsals=2
compare raw-lz4 raw --connections 4 --batch-bytes 16KiB --idempotent --codec lz4 --duration "$window"
compare franz-go produce --idempotent --linger 5ms --batch-bytes 128KiB --duration "$window"
java_producer
compare 1000-producers raw --connections 1000 --inflight 1 --batch-bytes 4KiB --duration "$window"
stop
start 4GiB 604800000
compare consume-start consume --fill 1GB --raw --passes 3
compare consume-tail e2e --rate 40MB --batch-bytes 128KiB --linger 5ms --consumers 3 --duration "$window"
stop
(cd "$out" && "$work/karst" bench chart raw.json raw-lz4.json franz-go.json 1000-producers.json consume-start.json consume-tail.json) >"$out/beside-kafka.svg"
echo "written: $out/beside-kafka.svg"
