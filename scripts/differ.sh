#!/bin/sh
# Compares Karst with a real Apache Kafka, answer by answer (internal/tools/differ).
#
#   scripts/differ.sh record [SCRIPT...]   runs the scripts against Kafka and writes
#                                          its answers to testdata/golden
#   scripts/differ.sh both [SCRIPT...]     runs them against Kafka and Karst, and
#                                          compares
#
# Each script has a Kafka of its own, freshly formatted; without names it is all of
# them. Environment: that of scripts/kafka-peer.sh; PORT, 29392 by default.
set -eu

here=$(cd "$(dirname "$0")" && pwd)
case ${1:-} in
record) flags=-record ;;
both) flags= ;;
*) sed -n '2,11s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
esac
shift

port=${PORT:-29392}
dir=$(mktemp -d)
stop() {
	[ ! -e "$dir/kafka/pid" ] || "$here/kafka-peer.sh" stop "$dir/kafka" >/dev/null || true
	rm -rf "$dir/kafka"
}
trap 'stop; rm -rf "$dir"' EXIT
trap 'exit 1' HUP INT TERM

# What differs from Kafka's own defaults, beside what kafka-peer.sh says: no
# retention, for scripts use fixed times in the past.
cat >"$dir/properties" <<PROPERTIES
log.retention.check.interval.ms=86400000
log.initial.task.delay.ms=86400000
offsets.topic.segment.bytes=1048576
PROPERTIES
cd "$here/.."
go test -c -o "$dir/differ" ./internal/tools/differ
cd internal/tools/differ
[ $# -gt 0 ] || set -- $(cd testdata && ls -- *.txt | sed 's/\.txt$//')
failed=
for script; do
	KAFKA_HEAP=${KAFKA_HEAP:-384m} KAFKA_MESSAGE_MAX= KAFKA_PROPERTIES=$dir/properties "$here/kafka-peer.sh" start "$dir/kafka" "$port" >/dev/null
	echo "== $script"
	"$dir/differ" -test.run "^TestDifferences\$/^$script\$" -kafka "127.0.0.1:$port" $flags || failed="$failed $script"
	stop
done
[ -z "$failed" ] || { echo "failed:$failed" >&2; exit 1; }
