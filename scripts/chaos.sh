#!/bin/sh
# Clusters of three brokers under faults: kill -9, SIGTERM, SIGSTOP for longer than
# a session, networks cut between brokers, to the store and to clients, in both
# directions or in one, a store that throttles, is slow, breaks connections or
# loses answers; several at once, at random, a third of them at the controller.
# Idempotent franz-go producers and a consumer live through it; afterwards all is
# read and compared, and every partition must be written and read within 30 s.
#
#   scripts/chaos.sh RUNS DIR [file|s3]   so many runs on each store, or on one;
#                                         DIR gets a line for each, the faults, and
#                                         what brokers said in runs that failed
#
# Networks are cut in network namespaces, which need root on Linux; without it
# those faults are left out.
#
# PARALLEL         runs at once, 3 by default
# CHAOS_SECONDS    of faults in each, 10 by default
# KARST_TEST_SEED  the first run's seed
set -eu

usage() { sed -n '2,22s/^# \{0,1\}//p' "$0" >&2; exit 2; }
[ $# -ge 2 ] || usage
runs=$1
mkdir -p "$2"
dir=$(cd "$2" && pwd)
cd "$(dirname "$0")/.."
export KARST_TEST_E2E=1 KARST_TEST_CHAOS_RUNS="$runs" KARST_TEST_CHAOS_REPORT="$dir"
export KARST_TEST_CHAOS_SECONDS="${CHAOS_SECONDS:-10}"
[ $# -lt 3 ] || export KARST_TEST_STORE="$3"
status=0
go test -count=1 -timeout 24h -v -parallel "${PARALLEL:-3}" -run '^TestClusterChaos$' ./internal/e2e >"$dir/test.log" 2>&1 || status=$?
grep -E '^(\||failed:|$)' "$dir/test.log" | cat -s
[ $status = 0 ] || echo "failures are in $dir/test.log"
exit $status
