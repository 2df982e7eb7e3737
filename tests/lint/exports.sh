#!/bin/sh
# The same functions in three places: declared HTSTORE_API in the header, listed in the version map, exported by the library.
set -eu
: "${top_srcdir:?run by make check}" "${top_builddir:?}"

library=$top_builddir/lib/.libs/libhtstore.so
if [ ! -e "$library" ]; then
    echo "SKIP: no shared library was built"
    exit 77
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# A declaration may go over several lines: join them, then cut at each HTSTORE_API.
tr '\n' ' ' <"$top_srcdir/lib/htstore.h" | sed 's/HTSTORE_API/\n&/g' |
    sed -n 's/^HTSTORE_API [^;(]*[ *]\(htstore_[a-z0-9_]*\)(.*/\1/p' | LC_ALL=C sort >"$work/header"
sed -n '/global:/,/local:/s/^ *\([a-z0-9_]*\);.*/\1/p' "$top_srcdir/lib/libhtstore.map" | LC_ALL=C sort >"$work/map"
# shellcheck disable=SC2086
$NM -D --defined-only "$library" >"$work/symbols"
"$AWK" '$2 != "A" { sub(/@.*/, "", $3); print $3 }' "$work/symbols" | LC_ALL=C sort >"$work/library"

cd "$work"
test -s header || { echo "no declarations found in htstore.h"; exit 1; }
status=0
diff header map || { echo "htstore.h (<) and libhtstore.map (>) differ"; status=1; }
diff header library || { echo "htstore.h (<) and the symbols of libhtstore.so (>) differ"; status=1; }

# Mappings are append-only: nothing that deletes or replaces an entry may appear here (semantics.md 2.1).
for verb in at close contains create get get_or_create is_layer is_trainable items name open put set_trainable size track \
    update walk; do
    echo "htstore_mapping_$verb"
done | LC_ALL=C sort >mapping_known
grep '^htstore_mapping_' library >mapping || true
diff mapping_known mapping || { echo "functions on mappings: known (<) and exported (>) differ"; status=1; }
exit "$status"
