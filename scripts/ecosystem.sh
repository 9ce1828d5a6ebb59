#!/bin/sh
# Lets Kafka Connect, MirrorMaker 2 and a Kafka Streams application work on Karst,
# all at once, with their broker killed again and again, and says what arrived.
#
#   scripts/ecosystem.sh SECONDS   how long each of them works; 600 is ten minutes
#
# KARST_TEST_BINARY  a karst to test instead of building one
set -eu

[ $# -eq 1 ] || { sed -n '2,7s/^# \{0,1\}//p' "$0" >&2; exit 2; }
cd "$(dirname "$0")/.."
KARST_TEST_E2E=1 KARST_TEST_SOAK=$1 exec go test -count=1 -v -parallel 3 -timeout "$(($1 + 1800))s" \
	-run '^(TestConnect|TestMirrorMaker|TestStreams)$' ./internal/e2e
