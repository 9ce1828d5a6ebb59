#!/bin/sh
# Fetches Kafka clients for the end-to-end tests, once, into a cache folder.
#
#   scripts/clients.sh java          prints the class path of Apache Kafka's clients
#   scripts/clients.sh java2         … of the last ones of the 2.x line
#   scripts/clients.sh ecosystem     … of Kafka Connect, MirrorMaker 2 and Streams
#   scripts/clients.sh python        prints a Python that has confluent-kafka, which
#                                    brings the newest librdkafka
#   scripts/clients.sh debian        prints a Python whose confluent-kafka uses the
#                                    distribution's librdkafka
#   scripts/clients.sh kafka-python  prints a Python that has kafka-python
#   scripts/clients.sh node          prints a folder with the Node.js packages
#   scripts/clients.sh sarama        prints a program that is a client with Sarama
#   scripts/clients.sh all           fetches all of them
#
# KARST_CLIENTS  where they are kept, by default below the user's cache folder
set -eu

script=$(cd "$(dirname "$0")" && pwd)/$(basename "$0")
sources=$(cd "$(dirname "$0")/../internal/e2e/testdata" && pwd)
cache=${KARST_CLIENTS:-${XDG_CACHE_HOME:-$HOME/.cache}/karst/clients}
fail() { echo "clients.sh: $*" >&2; exit 1; }

# folder NAME FILE… is the cache folder for what these files of testdata pin. It
# is complete when it holds the file "complete".
folder() {
	name=$1
	shift
	dir=$cache/$name-$(cd "$sources" && cat "$@" | cksum | cut -d ' ' -f 1)
	[ ! -e "$dir/complete" ]
}

jars() {
	if folder "$1" "$1/pom.xml"; then
		command -v javac >/dev/null || fail "javac is missing; install a JDK, 17 or newer"
		command -v mvn >/dev/null || fail "mvn is missing; install Maven"
		mvn -q -B -f "$sources/$1/pom.xml" dependency:copy-dependencies -DoutputDirectory="$dir/lib" >&2 || fail "Maven could not fetch what $1 needs"
		touch "$dir/complete"
	fi
	echo "$dir/lib/*"
}

# environment NAME SOURCE is a Python with what SOURCE's requirements.txt lists.
environment() {
	if folder "$1" "$2/requirements.txt"; then
		python3 -m venv "$dir" >&2 || fail "python3 cannot make a virtual environment; install python3-venv"
		"$dir/bin/pip" install -q --disable-pip-version-check -r "$sources/$2/requirements.txt" >&2 || fail "pip could not fetch what $2 needs"
		touch "$dir/complete"
	fi
	echo "$dir/bin/python"
}

case ${1:-} in
java | java2 | ecosystem) jars "$1" ;;
python) environment python librdkafka ;;
debian)
	/usr/bin/python3 -c 'import confluent_kafka' 2>/dev/null || fail "/usr/bin/python3 has no confluent_kafka; install python3-confluent-kafka"
	echo /usr/bin/python3
	;;
kafka-python) environment kafka-python kafka-python ;;
node)
	if folder node node/package.json; then
		command -v npm >/dev/null || fail "npm is missing; install Node.js with npm"
		mkdir -p "$dir"
		cp "$sources/node/package.json" "$dir/"
		(cd "$dir" && npm install --ignore-scripts --no-audit --no-fund --no-package-lock --loglevel=error >&2) || fail "npm could not fetch KafkaJS"
		touch "$dir/complete"
	fi
	echo "$dir"
	;;
sarama)
	if folder sarama sarama/go.mod sarama/go.sum sarama/main.go; then
		mkdir -p "$dir"
		(cd "$sources/sarama" && go build -o "$dir/sarama" .) >&2 || fail "the Sarama client does not build"
		touch "$dir/complete"
	fi
	echo "$dir/sarama"
	;;
all)
	for set in java java2 ecosystem python debian kafka-python node sarama; do "$script" $set; done
	;;
*) sed -n '2,18s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
esac
