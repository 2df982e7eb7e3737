#!/bin/sh
# Each example runs, in a directory of its own.
set -u
: "${top_builddir:?run by make check}"

status=0
for example in $EXAMPLES; do
    work=$(mktemp -d)
    if (cd "$work" && "$top_builddir/$example"); then
        echo "$example: good"
    else
        echo "$example: failed"
        status=1
    fi
    rm -rf "$work"
done
exit "$status"
