#!/bin/sh
# The data set, consumed on a folder and on S3 by groups of Java's client, of
# librdkafka, of franz-go and of all of them, while it is produced, members join,
# leave and are killed, and the broker is killed or stopped. Every group must see every
# record, and no committed position may go back.
#
#   scripts/groups.sh [RECORDS [SECONDS]]     1000000 and 300 by default
set -eu
cd "$(dirname "$0")/.."
KARST_TEST_E2E=1 KARST_TEST_GROUP_RECORDS=${1:-1000000} KARST_TEST_GROUP_SECONDS=${2:-300} \
	exec go test -count=1 -timeout 2h -v -run '^TestGroups$' ./internal/e2e
