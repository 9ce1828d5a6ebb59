#!/bin/sh
# Starts a local S3 server on a temporary folder, makes a bucket, and runs a
# command with KARST_TEST_S3 and credentials set; stops the server afterwards.
#
#   scripts/s3-server.sh versitygw go test -count=1 ./internal/store/s3
#   scripts/s3-server.sh minio     go test -count=1 ./internal/store/s3
#
# The server is $S3_SERVER or found in PATH, else built once with go install.
# versitygw before v1.8.0 lets two concurrent creates of one name succeed, and
# Karst refuses it.
set -eu

usage() { sed -n '2,10s/^# \{0,1\}//p' "$0" >&2; exit 2; }
[ $# -ge 2 ] || usage
kind=$1
shift

case $kind in
versitygw) module=github.com/versity/versitygw/cmd/versitygw@v1.8.0 ;;
minio) module=github.com/minio/minio@v0.0.0-20260212201848-7aac2a2c5b7c ;;
*) usage ;;
esac

server=${S3_SERVER:-$(command -v "$kind" || true)}
if [ -z "$server" ]; then
	cache=${XDG_CACHE_HOME:-$HOME/.cache}/karst/${module##*/}
	server=$cache/$kind
	[ -x "$server" ] || GOBIN=$cache go install "$module"
fi

dir=$(mktemp -d "${S3_DIR:-${TMPDIR:-/tmp}}/s3-server.XXXXXX")
port=${S3_PORT:-$((20000 + $$ % 20000))}
export AWS_ACCESS_KEY_ID=karst-test AWS_SECRET_ACCESS_KEY=karst-test-secret
export AWS_EC2_METADATA_DISABLED=true

mkdir -p "$dir/data/karst" # a bucket is a folder to both servers
case $kind in
versitygw)
	"$server" --access "$AWS_ACCESS_KEY_ID" --secret "$AWS_SECRET_ACCESS_KEY" --quiet --keep-alive \
		--port "127.0.0.1:$port" posix "$dir/data" >"$dir/log" 2>&1 &
	;;
minio)
	MINIO_ROOT_USER=$AWS_ACCESS_KEY_ID MINIO_ROOT_PASSWORD=$AWS_SECRET_ACCESS_KEY \
		"$server" server --quiet --address "127.0.0.1:$port" "$dir/data" >"$dir/log" 2>&1 &
	;;
esac
pid=$!
trap 'kill "$pid" 2>/dev/null || true; wait "$pid" 2>/dev/null || true; rm -rf "$dir"' EXIT
# An interrupt is for the command: it may still need the server to stop cleanly.
trap : INT
trap 'exit 143' TERM

tries=0
until curl -s -o /dev/null "http://127.0.0.1:$port/"; do
	tries=$((tries + 1))
	if [ $tries -gt 100 ] || ! kill -0 "$pid" 2>/dev/null; then
		cat "$dir/log" >&2
		echo "s3-server.sh: $kind did not start" >&2
		exit 1
	fi
	sleep 0.1
done

export KARST_TEST_S3="s3://karst?endpoint=http://127.0.0.1:$port&path_style=true&region=us-east-1"
"$@"
