#!/bin/sh
# How long partitions cannot be written or read when a broker of three is killed,
# frozen, cut off, stopped, or one is added: real processes, each in a network
# namespace of its own, under producers of Java, librdkafka and franz-go with their
# own defaults, and a franz-go client that asks again at once (the probe), which
# shows what the cluster itself takes.
#
#   scripts/availability.sh DIR file|s3|kafka…   measures these, one after the other:
#                                                a folder, S3 with 30/150 ms PUTs, and
#                                                Apache Kafka with its own defaults
#   scripts/availability.sh DIR                  only makes the page and the graphs
#
# DIR gets a JSON file for each event, what brokers said, availability.md and an SVG
# for each kind of event. Needs root on Linux for the namespaces; without it nothing
# is cut off.
#
# EVENTS  repetitions of a kill, 10 by default; fewer of the others
# ONLY    one kind of event
set -eu

usage() { sed -n '2,20s/^# \{0,1\}//p' "$0" >&2; exit 2; }
[ $# -ge 1 ] || usage
mkdir -p "$1"
dir=$(cd "$1" && pwd)
shift
cd "$(dirname "$0")/.."
export KARST_TEST_E2E=1 KARST_TEST_EVENTS="${EVENTS:-10}" KARST_TEST_ONLY="${ONLY:-}" KARST_TEST_AVAILABILITY="$dir"
status=0
for system in "$@"; do
	case $system in file | s3 | kafka) ;; *) usage ;; esac
	KARST_TEST_SYSTEM=$system go test -count=1 -timeout 24h -v -run '^TestAvailability$' ./internal/e2e >"$dir/$system.log" 2>&1 || status=$?
	grep -E 'availability_test.go|ledger_test.go|^ *--- ' "$dir/$system.log" || true
done
KARST_TEST_SYSTEM=none go test -count=1 -v -run '^TestAvailability$' ./internal/e2e | grep '^|'
exit $status
