#!/bin/sh
# kill -9 in a loop, on a folder and on S3, under idempotent producers of
# librdkafka, Java and franz-go with acks=all; everything on the machine but the
# store is deleted in between. Afterwards all records are read and compared.
#
#   scripts/kill9.sh [KILLS]     kills on each store, 50 by default
set -eu
cd "$(dirname "$0")/.."
KARST_TEST_E2E=1 KARST_TEST_KILLS=${1:-50} exec go test -count=1 -timeout 24h -v -run '^TestKill$' ./internal/e2e
