#!/bin/sh
# What --enable-hardening asked for is in the binaries.
set -eu
: "${top_builddir:?run by make check}"

library=$top_builddir/lib/.libs/libhtstore.so
program=$top_builddir/tools/.libs/htstore
if [ "$HTSTORE_HARDENING" != yes ] || [ ! -e "$library" ] || [ ! -e "$program" ]; then
    echo "SKIP: not a shared build with --enable-hardening"
    exit 77
fi

status=0
expect() { # file, options of readelf, pattern, meaning
    "$READELF" -W "$2" "$1" | grep -q "$3" && return
    echo "${1##*/}: $4"
    status=1
}
for file in "$library" "$program"; do
    expect "$file" -l GNU_RELRO "no read-only relocations"
    expect "$file" -d 'BIND_NOW\|FLAGS_1.*NOW' "symbols are not bound at start"
    expect "$file" -l 'GNU_STACK.* RW ' "the stack may be executable"
    expect "$file" --dyn-syms '_chk' "no checked library functions or stack guard"
done
# The linker keeps this mark only if the C library has it too, so look at an object.
if [ "$(uname -m)" = x86_64 ]; then
    expect "$top_builddir/lib/.libs/error.o" -n 'IBT.*SHSTK' "no control-flow protection"
fi
expect "$program" -d 'FLAGS_1.*PIE' "not position independent"
if "$READELF" -W -d "$library" | grep -q NODLOPEN; then
    echo "the library must stay loadable by dlopen()"
    status=1
fi
exit "$status"
