#!/bin/sh
# The first C example of README.md compiles against the library and runs. With --installed, against an installed one, found
# by pkg-config alone.
set -eu
: "${top_srcdir:?run by make check}" "${top_builddir:?}"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
sed -n '/^```c$/,/^```$/p' "$top_srcdir/README.md" | sed -n '2,/^```$/p' | sed '/^```$/d' >"$work/example.c"
test -s "$work/example.c" || { echo "README.md has no C example"; exit 1; }

# CC, CFLAGS and LDFLAGS hold several words.
# shellcheck disable=SC2086,SC2046
if [ "${1:-}" = --installed ]; then
    static=
    [ -e "$($PKG_CONFIG --variable=libdir htstore)/libhtstore.so" ] || static=--static
    $CC $CFLAGS -o "$work/example" "$work/example.c" $($PKG_CONFIG $static --cflags --libs htstore) $LDFLAGS
else
    $CC $CFLAGS -I "$top_srcdir/lib" -c -o "$work/example.o" "$work/example.c"
    $LIBTOOL --quiet --tag=CC --mode=link $CC $CFLAGS $LDFLAGS -no-install -o "$work/example" "$work/example.o" \
        "$top_builddir/lib/libhtstore.la"
fi
cd "$work"
./example
