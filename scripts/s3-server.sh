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
export AWS_ACCESS_KEY_ID=karst-test AWS_SECRET_ACCESS_KEY=karst-test-secret
export AWS_EC2_METADATA_DISABLED=true

mkdir -p "$dir/data/karst" # a bucket is a folder to both servers
# serve PORT starts the server and waits until it answers.
serve() {
	case $kind in
	versitygw)
		"$server" --access "$AWS_ACCESS_KEY_ID" --secret "$AWS_SECRET_ACCESS_KEY" --quiet --keep-alive \
			--port "127.0.0.1:$1" posix "$dir/data" >"$dir/log" 2>&1 &
		;;
	minio)
		MINIO_ROOT_USER=$AWS_ACCESS_KEY_ID MINIO_ROOT_PASSWORD=$AWS_SECRET_ACCESS_KEY \
			"$server" server --quiet --address "127.0.0.1:$1" "$dir/data" >"$dir/log" 2>&1 &
		;;
	esac
	pid=$!
	tries=0
	while kill -0 "$pid" 2>/dev/null; do
		# Whoever answers must be ours, and still be there afterwards.
		if curl -s -m 2 -o /dev/null "http://127.0.0.1:$1/" && sleep 0.2 && kill -0 "$pid" 2>/dev/null; then return; fi
		tries=$((tries + 1))
		[ $tries -le 300 ] || return 1
		sleep 0.1
	done
	return 1
}

pid=
trap '[ -z "$pid" ] || { kill "$pid" && wait "$pid"; } 2>/dev/null || true; rm -rf "$dir"' EXIT
# An interrupt is for the command: it may still need the server to stop cleanly.
trap : INT
trap 'exit 143' TERM

# Below the range that outgoing connections take theirs from (32768 on Linux); a
# port that is taken all the same is given up for another.
port=${S3_PORT:-$((20000 + $$ % 12000))}
left=5
until serve "$port"; do
	cat "$dir/log" >&2
	kill "$pid" 2>/dev/null || true
	wait "$pid" 2>/dev/null || true
	left=$((left - 1))
	if [ $left = 0 ] || [ -n "${S3_PORT:-}" ]; then
		echo "s3-server.sh: $kind did not start" >&2
		exit 1
	fi
	port=$((20000 + (port - 20000 + 977) % 12000))
done

export KARST_TEST_S3="s3://karst?endpoint=http://127.0.0.1:$port&path_style=true&region=us-east-1"
"$@"
