#!/bin/sh
# One version: the numbers and the text in htstore.h, the package, the newest entry of NEWS.md.
set -eu
: "${top_srcdir:?run by make check}"

header=$top_srcdir/lib/htstore.h
number() {
    sed -n "s/^#define HTSTORE_VERSION_$1 \([0-9]*\)\$/\1/p" "$header"
}
text=$(sed -n 's/^#define HTSTORE_VERSION "\(.*\)"$/\1/p' "$header")
numbers=$(number MAJOR).$(number MINOR).$(number PATCH)
news=$(sed -n 's/^## \([0-9.]*\).*/\1/p' "$top_srcdir/NEWS.md" | head -n 1)

status=0
check() {
    [ "$2" = "$text" ] && return
    echo "$1 is '$2', but HTSTORE_VERSION is '$text'"
    status=1
}
check "HTSTORE_VERSION_MAJOR.MINOR.PATCH" "$numbers"
check "the version of the package (run ./bootstrap again)" "$HTSTORE_PACKAGE_VERSION"
check "the newest entry of NEWS.md" "$news"
exit "$status"
