#!/bin/sh
# Makes a real data set of JSON lines: the lines of the Go standard library's
# source, repeated with a pass number until there are enough.
#
#   scripts/dataset.sh FILE [RECORDS]     1000000 by default
#
# It is there on every machine that builds Karst, so nothing is downloaded.
set -eu
[ $# -ge 1 ] || { sed -n '2,7s/^# \{0,1\}//p' "$0" >&2; exit 2; }
records=${2:-1000000}
cd "$(go env GOROOT)/src"
find . -name '*.go' -type f | LC_ALL=C sort >"$1.files"
pass=0
: >"$1"
while [ "$(wc -l <"$1")" -lt "$records" ]; do
	pass=$((pass + 1))
	# Control characters are rare in source: tabs are escaped, others dropped.
	xargs awk -v pass=$pass '{
		gsub(/\\/, "\\\\"); gsub(/"/, "\\\""); gsub(/\t/, "\\t"); gsub(/[[:cntrl:]]/, "")
		printf "{\"pass\":%d,\"file\":\"%s\",\"line\":%d,\"text\":\"%s\"}\n", pass, substr(FILENAME, 3), FNR, $0
	}' <"$1.files" >>"$1"
done
rm "$1.files"
head -n "$records" "$1" >"$1.cut"
mv "$1.cut" "$1"
