#!/bin/sh
# The demonstration: real data goes in, is looked up, comes out again unchanged, and survives killed processes.
#
#     HTSTORE=/path/to/htstore demo/demo.sh [--keep]
#
# It works in a new folder demo-data-XXXXXX of the current one, removed at the end unless --keep is given. Status 0: all of it
# was as it should be; 1: something was not; 77: a file of the input is missing.
set -u
LC_ALL=C
export LC_ALL
here=${0%/*}
: "${HTSTORE:=htstore}"
words=${DEMO_WORDS:-/usr/share/dict/american-english-huge}
weights=/usr/share/unicode/allkeys.txt
zones=/usr/share/zoneinfo/zone1970.tab
batch=128
keep=no
failures=0
running=

case "${1-}" in
'') ;;
--keep) keep=yes ;;
*)
    echo "usage: demo.sh [--keep]" >&2
    exit 2
    ;;
esac
for file in "$words" "$weights" "$zones"; do
    test -r "$file" || {
        echo "SKIP: $file is missing; install wamerican-huge, unicode-data and tzdata"
        exit 77
    }
done
"$HTSTORE" version >/dev/null || {
    echo "the program htstore cannot be run: set HTSTORE" >&2
    exit 1
}

data=$(mktemp -d ./demo-data-XXXXXX) || exit 1
clean_up() {
    test -z "$running" || kill -KILL "$running" 2>/dev/null
    test "$keep" = yes || rm -rf "$data"
}
trap clean_up EXIT
trap 'exit 1' HUP INT TERM
store=$data/store

say() {
    printf '%s\n' "$*"
}

heading() {
    printf '\n== %s\n' "$*"
}

# check WHAT COMMAND...: the command succeeds, and that is what the demonstration proves
check() {
    what=$1
    shift
    if "$@" >"$data/check.out" 2>&1; then
        say "   ok: $what"
    else
        say " FAIL: $what"
        sed 's/^/       /' "$data/check.out" | head -n 10
        failures=$((failures + 1))
    fi
}

now_ms() {
    perl -MTime::HiRes=time -e 'printf "%d\n", 1000 * time'
}

# timed COMMAND...: run it; its time is in $ms
timed() {
    from=$(now_ms)
    "$@" || {
        say " FAIL: $*"
        failures=$((failures + 1))
    }
    ms=$(($(now_ms) - from))
    test "$ms" -gt 0 || ms=1
}

# A number of the store's report
store_number() {
    "$HTSTORE" info --json "$store" | sed 's/.*"'"$1"'":\([0-9]*\).*/\1/'
}

count_lines() {
    wc -l <"$1" | tr -d ' '
}

# bring_in TABLE INPUT EXPECTED OPTION...: import a file, export the table, compare with what was expected
bring_in() {
    table=$1
    input=$2
    expected=$3
    shift 3
    timed "$HTSTORE" import "$store" "$table" "$input" "$@"
    rows=$(count_lines "$expected")
    say "   import: $rows rows in $ms ms, $((rows * 1000 / ms)) rows/s"
    timed "$HTSTORE" export -q "$store" "$table" -o "$data/$table.out"
    say "   export: $rows rows in $ms ms, $((rows * 1000 / ms)) rows/s"
    check "the export of $table is the sorted input, byte for byte" cmp "$data/$table.out" "$expected"
}

# The words as rows, in order of the file and in order of keys
perl -ne 'chomp; print "$_\t", $. - 1, "\n"' "$words" >"$data/words.tsv" || exit 1
sort -t "$(printf '\t')" -k 1,1 "$data/words.tsv" >"$data/words.sorted" || exit 1
n_words=$(count_lines "$data/words.tsv")

heading "a vocabulary: string -> int64, $n_words words and their line numbers"
"$HTSTORE" init "$store" words --key=string --value=int64 --default=-1 || exit 1
bring_in words "$words" "$data/words.sorted" --format=text
say "   lookups:"
"$HTSTORE" get "$store" words --or-default apple zebra "no such word" | sed 's/^/      /'
check "an absent word has the default" test "$("$HTSTORE" get "$store" words --or-default nowordatall)" = \
    "$(printf 'nowordatall\t-1')"

heading "Unicode collation weights: string -> int32[3]"
perl "$here/weights.pl" "$weights" >"$data/weights.tsv" || exit 1
perl "$here/weights.pl" --sorted "$weights" >"$data/weights.sorted" || exit 1
"$HTSTORE" init "$store" weights --key=string --value=int32 --shape=3 || exit 1
bring_in weights "$data/weights.tsv" "$data/weights.sorted"
say "   lookups:"
"$HTSTORE" get "$store" weights a b ß '\x00' | sed 's/^/      /'
check "a sorts before b by its first weight" test \
    "$("$HTSTORE" get "$store" weights a | cut -f 2)" -lt "$("$HTSTORE" get "$store" weights b | cut -f 2)"

heading "positions of time zones: string -> float32[2]"
perl "$here/coordinates.pl" "$zones" >"$data/zones.tsv" || exit 1
perl "$here/coordinates.pl" --sorted "$zones" >"$data/zones.sorted" || exit 1
"$HTSTORE" init "$store" zones --key=string --value=float32 --shape=2 || exit 1
bring_in zones "$data/zones.tsv" "$data/zones.sorted"
say "   lookups:"
"$HTSTORE" get "$store" zones Europe/Berlin America/New_York | sed 's/^/      /'

heading "what the store holds"
"$HTSTORE" ls -l "$store" | sed 's/^/   /'
say "   data.mdb: $(store_number data_bytes) bytes, journal: $(store_number journal_bytes) bytes," \
    "the three inputs as TSV: $(cat "$data/words.tsv" "$data/weights.tsv" "$data/zones.tsv" | wc -c | tr -d ' ') bytes"

# kill_import TABLE MODE: start an import, kill it when a third is acknowledged. Another process has recorded the
# acknowledgements, in a file outside of the store; $acknowledged is the last of them.
kill_import() {
    rm -f "$data/acks" "$data/tell" "$data/record"
    mkfifo "$data/acks" "$data/tell" || exit 1
    perl "$here/recorder.pl" "$data/record" $((n_words / 3)) "$data/tell" <"$data/acks" &
    recorder=$!
    "$HTSTORE" import "$store" "$1" "$words" --format=text --batch=$batch --durability="$2" --ack-fd=3 3>"$data/acks" \
        2>"$data/import.err" &
    running=$!
    read -r told <"$data/tell"
    kill -KILL "$running" 2>/dev/null
    status=0
    wait "$running" 2>/dev/null || status=$?
    running=
    wait "$recorder"
    acknowledged=$(tail -n 1 "$data/record")
    check "the import was killed in the middle (status $status, $acknowledged of $n_words rows acknowledged)" \
        test "$told:$status" = enough:137
}

# All acknowledged words, with their values, in the order of the input
all_acknowledged_are_there() {
    head -n "$acknowledged" "$words" >"$data/keys"
    head -n "$acknowledged" "$data/words.tsv" >"$data/expected"
    "$HTSTORE" get "$store" "$1" --keys-from="$data/keys" >"$data/found" && cmp "$data/found" "$data/expected"
}

# The table is the first $present rows of the input, no others
is_a_prefix() {
    "$HTSTORE" export -q "$store" "$1" >"$data/rest" || return 1
    head -n "$present" "$data/words.tsv" | sort -t "$(printf '\t')" -k 1,1 | cmp - "$data/rest"
}

is_complete() {
    "$HTSTORE" export -q "$store" "$1" | cmp - "$data/words.sorted"
}

for mode in sync interval lazy; do
    heading "a killed import, durability $mode, batches of $batch rows"
    table=killed_$mode
    "$HTSTORE" init "$store" "$table" --key=string --value=int64 --default=-1 || exit 1
    kill_import "$table" "$mode"
    timed "$HTSTORE" init "$store" # opens the store as its owner, which recovers what the killed one left
    present=$("$HTSTORE" ls --json "$store" "$table" | sed 's/.*"rows":\([0-9]*\).*/\1/')
    beyond=$((present - acknowledged))
    say "   reopened in $ms ms: $present rows are there, $beyond beyond the last acknowledged one"
    check "every acknowledged row is there, with its value" all_acknowledged_are_there "$table"
    check "at most one batch is there beyond them" test "$beyond" -ge 0 -a "$beyond" -le $batch
    check "the table is exactly the first $present rows of the input" is_a_prefix "$table"
    timed "$HTSTORE" import -q "$store" "$table" "$words" --format=text --skip-rows="$present"
    say "   the rest: $((n_words - present)) rows in $ms ms"
    check "the import has gone on where it was killed: the table is complete" is_complete "$table"
done

heading "result"
if test "$failures" != 0; then
    say "FAIL: $failures checks failed"
    keep=yes
    say "the data is kept in $data"
    exit 1
fi
say "Shown: exports are the inputs, sorted, byte for byte, for strings, integers and floats. A process killed by SIGKILL in"
say "the middle of an import loses no acknowledged row in any durability mode, and leaves at most one batch beyond them,"
say "whole. Not shown: power cuts, which the modes differ in."
test "$keep" = no || say "the data is kept in $data"
say "PASS"
