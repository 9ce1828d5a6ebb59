#!/bin/sh
# The long run behind the five minutes of CI: thousands of simulated seeds,
# then real kills of a real process.
#
#   scripts/longrun.sh [SEEDS [KILLS]]     10000 and 200 by default; hours
set -eu
cd "$(dirname "$0")/.."
KARST_TEST_SIM_SEEDS=${1:-10000} go test -count=1 -timeout 24h -v ./internal/sim
exec scripts/kill9.sh "${2:-200}"
