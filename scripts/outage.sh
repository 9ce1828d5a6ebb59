#!/bin/sh
# Takes the S3 server away under load and gives it back; the broker must go on
# without a restart.
#
#   scripts/outage.sh [SECONDS]     600 by default
set -eu
cd "$(dirname "$0")/.."
KARST_TEST_E2E=1 KARST_TEST_OUTAGE=${1:-600} exec go test -count=1 -timeout 24h -v -run '^TestOutage$' ./internal/e2e
