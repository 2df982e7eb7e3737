#!/bin/sh
# Print the share of executed lines for each file of the library, and in all. Fails below a percentage.
# Usage: check_coverage.sh PERCENT FILE.gcno...
set -eu

minimum=$1
shift
# shellcheck disable=SC2086
$GCOV --no-output "$@" 2>/dev/null | "$AWK" -v minimum="$minimum" '
/^File / {
    file = $2
    gsub(/\047/, "", file)
    wanted = file ~ /(^|\/)lib\/[a-z0-9_]+\.c$/
    sub(/.*\//, "", file)
}

wanted && /^Lines executed:/ {
    split($0, part, /[:% ]+/)
    total[file] = $NF
    run[file] = part[3] * $NF / 100
    wanted = 0
}

END {
    for (file in total) {
        printf "%-14s %6.2f %% of %5d lines\n", file, total[file] ? 100 * run[file] / total[file] : 100, total[file] | "sort"
        all += total[file]
        executed += run[file]
        n_files++
    }
    close("sort")
    if (n_files == 0) {
        print "no coverage data of lib/"
        exit 1
    }
    printf "%-14s %6.2f %% of %5d lines, at least %d %% wanted\n", "lib/", 100 * executed / all, all, minimum
    exit 100 * executed / all < minimum
}'
