#!/bin/sh
# The C files are formatted with clang-format 14 and .clang-format. Other versions format otherwise.
set -u
: "${top_srcdir:?run by make check}"

formatter=
for program in clang-format-14 clang-format; do
    if "$program" --version 2>/dev/null | grep -q 'version 14\.'; then
        formatter=$program
        break
    fi
done
if [ -z "$formatter" ]; then
    echo "SKIP: no clang-format 14"
    exit 77
fi
cd "$top_srcdir" || exit 1
files=$(find lib tools tests fuzz examples bench -name '*.[ch]' 2>/dev/null | LC_ALL=C sort)
test -n "$files" || { echo "no C files found"; exit 1; }
# shellcheck disable=SC2086
exec "$formatter" --style=file --dry-run -Werror $files
