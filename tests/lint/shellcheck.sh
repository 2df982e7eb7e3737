#!/bin/sh
# The linter shellcheck finds nothing in any shell script of the tree, and those that say how to run them can be run.
set -u
: "${top_srcdir:?run by make check}"

if ! command -v shellcheck >/dev/null; then
    echo "SKIP: no shellcheck"
    exit 77
fi
cd "$top_srcdir" || exit 1
files=
status=0
for file in bootstrap quickstart .ci/run $(find bench demo examples fuzz lib tests tools -type f 2>/dev/null); do
    if [ -f "$file" ] && head -n 1 "$file" | grep -q '^#!.*sh$'; then
        files="$files $file"
        [ -x "$file" ] || { echo "$file is not executable"; status=1; }
    fi
done
test -n "$files" || { echo "no shell scripts found"; exit 1; }
# shellcheck disable=SC2086
shellcheck $files || status=1
exit "$status"
