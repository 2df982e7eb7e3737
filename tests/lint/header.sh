#!/bin/sh
# The public header is valid C99, C11, C++11 and C++17, when it comes first, and when it comes twice.
set -u
: "${top_srcdir:?run by make check}"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cat >"$work/use.c" <<'END'
#include "htstore.h"
#include "htstore.h"

int main(void)
{
    int64_t numbers[2] = {1, 2};
    struct htstore_array matrix = htstore_matrix(HTSTORE_INT64, numbers, 1, 2);
    struct htstore_bytes word = htstore_string("word");
    return matrix.rank == 2 && word.size == 4 && HTSTORE_VERSION_MAJOR >= 0 ? 0 : 1;
}
END
cp "$work/use.c" "$work/use.cpp"
warnings="-Wall -Wextra -pedantic -Werror"
status=0

# CC and CXX may hold flags.
for standard in c99 c11; do
    # shellcheck disable=SC2086
    $CC -std=$standard $warnings -I "$top_srcdir/lib" -fsyntax-only "$work/use.c" || {
        echo "htstore.h does not compile as $standard"
        status=1
    }
done
if [ -z "$CXX" ]; then
    [ "$status" -ne 0 ] && exit "$status"
    echo "SKIP: no C++ compiler: C99 and C11 are good, C++ was not tried"
    exit 77
fi
for standard in c++11 c++17; do
    # shellcheck disable=SC2086
    $CXX -std=$standard $warnings -I "$top_srcdir/lib" -fsyntax-only "$work/use.cpp" || {
        echo "htstore.h does not compile as $standard"
        status=1
    }
done
exit "$status"
