#!/bin/sh
# The order of modules in lib/layers, and the borders of foreign libraries, read from the symbols of the objects.
set -eu
: "${top_srcdir:?run by make check}" "${top_builddir:?}"

layers=$top_srcdir/lib/layers
archive=$top_builddir/lib/.libs/libhtstore-internal.a
symbols=$(mktemp)
trap 'rm -f "$symbols"' EXIT
# shellcheck disable=SC2086
$NM -p "$archive" >"$symbols"

"$AWK" '
function fail(text) {
    print text
    failed = 1
}

# May this object use this symbol of somebody else?
function check_foreign(object, symbol) {
    if (symbol ~ /^__.*_chk$/) { # the checked form of _FORTIFY_SOURCE
        sub(/^__/, "", symbol)
        sub(/_chk$/, "", symbol)
    }
    if (symbol ~ /^mdb_/ && object != "kv")
        fail(object ".o uses " symbol ": only kv.c may use LMDB")
    if (symbol ~ /^ZSTD_/ && object != "frame")
        fail(object ".o uses " symbol ": only frame.c may use Zstandard")
    if (symbol ~ /^XXH/ && object != "hash")
        fail(object ".o uses " symbol ": only hash.c may use xxHash")
    if (symbol in memory && object != "mem")
        fail(object ".o uses " symbol ": only mem.c may allocate")
    if (symbol in forbidden)
        fail(object ".o uses " symbol ": a library does not print, exit, abort, or touch what belongs to the process")
}

function check_own(object, symbol) {
    if (!(symbol in home))
        fail(object ".o uses " symbol ", which is defined nowhere")
    else if (rank[home[symbol]] > rank[object])
        fail(object ".o uses " symbol " of " home[symbol] ".o, which is above it in lib/layers")
}

function add_words(set, text,    words, n, i) {
    n = split(text, words, " ")
    for (i = 1; i <= n; i++)
        set[words[i]] = 1
}

BEGIN {
    add_words(memory, "malloc calloc realloc reallocarray free aligned_alloc posix_memalign memalign valloc pvalloc")
    add_words(memory, "strdup strndup asprintf vasprintf getline getdelim open_memstream scandir")
    add_words(forbidden, "abort exit _exit _Exit quick_exit atexit raise system popen signal sigaction")
    add_words(forbidden, "printf vprintf fprintf vfprintf dprintf vdprintf puts putchar putc fputc fputs fwrite perror")
    add_words(forbidden, "fopen fopen64 fdopen syslog err errx warn warnx stdin stdout stderr")
    add_words(forbidden, "getenv secure_getenv setenv putenv unsetenv clearenv environ")
    add_words(forbidden, "setlocale uselocale chdir fchdir umask")
}

FILENAME == ARGV[1] {
    if ($1 in rank)
        fail("lib/layers names " $1 " twice")
    rank[$1] = FNR
    next
}

/:$/ {
    object = $1
    sub(/.*\//, "", object)
    sub(/\.l?o:$/, "", object)
    found[object] = 1
    if (!(object in rank))
        fail(object ".o is not in lib/layers")
    next
}

NF >= 2 {
    symbol = $NF
    if ($(NF - 1) ~ /^[ABCDGRSTVW]$/)
        home[symbol] = object
    else if ($(NF - 1) ~ /^[Uwv]$/)
        uses[object " " symbol] = 1
}

END {
    for (module in rank)
        if (!(module in found))
            fail("lib/layers names " module ", but the library has no " module ".o")
    for (use in uses) {
        split(use, part, " ")
        if (part[2] ~ /^(hti|htstore)_/)
            check_own(part[1], part[2])
        else
            check_foreign(part[1], part[2])
        n_uses++
    }
    if (n_uses == 0)
        fail("no symbols read from the library")
    exit failed
}' "$layers" "$symbols"

# Tools and examples know the public header only.
status=0
for header in "$top_srcdir"/lib/*.h; do
    name=${header##*/}
    [ "$name" = htstore.h ] && continue
    for folder in tools examples; do
        [ -e "$top_srcdir/$folder/$name" ] && continue
        if grep -n "#include [\"<]\(\.\./lib/\)\{0,1\}${name}[\">]" "$top_srcdir/$folder"/*.[ch]; then
            echo "$folder/ includes $name, an internal header of lib/"
            status=1
        fi
    done
done
exit "$status"
