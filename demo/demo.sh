#!/bin/sh
# The demonstration: real data goes in, is looked up, comes out again unchanged, and survives killed processes.
#
#     HTSTORE=/path/to/htstore CHECKPOINT=/path/to/examples/checkpoint demo/demo.sh [--keep]
#
# It works in a new folder demo-data-XXXXXX of the current one, removed at the end unless --keep is given. Status 0: all of it
# was as it should be; 1: something was not; 77: a file of the input is missing.
set -u
LC_ALL=C
export LC_ALL
here=${0%/*}
: "${HTSTORE:=htstore}"
: "${CHECKPOINT:=checkpoint}"
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

heading "a mapping over the three tables; its entries are there for good"
for table in words weights zones; do
    "$HTSTORE" link -q "$store" "$table" "data/$table" || exit 1
done
"$HTSTORE" ls -R "$store" | sed 's/^/   /'
overwrite() {
    "$HTSTORE" link -q "$store" zones data/words
    test $? = 4
}
check "an entry cannot be given to another table" overwrite

heading "a checkpoint, saved while another thread of its process writes to the table log"
saved=$("$CHECKPOINT" "$store" 200) || exit 1
snapshot=${saved%% *}
before=$(echo "$saved" | cut -d ' ' -f 2)
after=$(echo "$saved" | cut -d ' ' -f 3)
say "   $before batches were acknowledged when it began, $((after - before)) more while it was saved"
"$HTSTORE" checkpoint ls "$store" | sed 's/^/   /'
test -z "$(command -v zstd)" || check "stock zstd verifies it" zstd -q -t "$snapshot"
timed "$HTSTORE" restore -q "$snapshot" "$data/restored"
say "   restored into a new store, and verified, in $ms ms"
n_log=$("$HTSTORE" ls --json "$data/restored" log | sed 's/.*"rows":\([0-9]*\).*/\1/')
is_log_prefix() {
    "$HTSTORE" export -q "$data/restored" log | cmp - "$data/log.expected"
}
perl -e 'print "$_\t$_\n" for 0 .. $ARGV[0] - 1' "$n_log" >"$data/log.expected"
check "it holds whole batches only, all that were acknowledged before ($n_log rows)" \
    test $((n_log % 100)) = 0 -a "$n_log" -ge $((before * 100)) -a "$n_log" -le $((after * 100 + 100))
check "they are exactly the first $n_log rows that were written" is_log_prefix
check "the restored store equals the checkpoint, row by row" \
    "$HTSTORE" checkpoint diff --exit-code "$store" "$snapshot" "$data/restored"
differs() {
    "$HTSTORE" checkpoint diff --exit-code "$store" "$snapshot" "$store" >"$data/differences"
    test $? = 10
}
check "the store itself has gone on since" differs
sed 's/^/      /' "$data/differences"

heading "the whole store: dump, restore, compare"
timed "$HTSTORE" dump -q "$store" -o "$data/store.snap"
say "   dump: $(wc -c <"$data/store.snap" | tr -d ' ') bytes in $ms ms; data.mdb has $(store_number data_bytes)"
timed "$HTSTORE" restore -q "$data/store.snap" "$data/twin"
say "   restore: $ms ms"
check "the new store equals the old one" "$HTSTORE" checkpoint diff --exit-code "$store" "$store" "$data/twin"
check "its mapping has the three tables" test "$("$HTSTORE" ls "$data/twin" data | wc -l | tr -d ' ')" = 3
check "both are whole" "$HTSTORE" check --level=deep "$data/twin"

heading "damage is found and named"
# flip FILE OFFSET: change a byte
flip() {
    perl -e 'open F, "+<", $ARGV[0] or die; seek F, $ARGV[1], 0; read F, $b, 1; seek F, $ARGV[1], 0; print F chr(ord($b) ^ 1)' "$1" "$2"
}
# offset_of FILE TEXT: where it stands for the last time
offset_of() {
    perl -0777 -ne 'BEGIN { $t = shift } print rindex($_, $t)' "$2" "$1"
}
finds() {
    "$HTSTORE" check "$1" >"$data/verdict"
    test $? = 5 && grep -q "$2" "$data/verdict"
}
cp "$data/store.snap" "$data/damaged.snap"
flip "$data/damaged.snap" $(($(wc -c <"$data/damaged.snap") / 2))
check "in a copy of the snapshot" finds "$data/damaged.snap" "block [0-9]* of (root)"
sed 's/^/      /' "$data/verdict"
cp -r "$data/twin" "$data/damaged"
flip "$data/damaged/data.mdb" "$(offset_of "$data/damaged/data.mdb" Europe/Berlin)"
check "in a copy of the store: one letter of a key" finds "$data/damaged" "table zones"
sed 's/^/      /' "$data/verdict"

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
say "whole. A checkpoint saved beside a writer is a state that the store once had, and restores to an equal store; one changed"
say "byte is found. Not shown: power cuts, which the modes differ in."
test "$keep" = no || say "the data is kept in $data"
say "PASS"
