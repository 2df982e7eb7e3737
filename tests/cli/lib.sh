# What the tests of the command line share. A test sources it first and calls `finish` last. It works in an empty
# directory of its own; $HTSTORE is the program. Input for the program is /dev/null unless a test gives another.
# shellcheck shell=sh
set -u
: "${HTSTORE:?the program under test}"
# Signals that were ignored when the tests were started, in the background for instance, stay ignored for good in a shell
if test -z "${default_signals-}" && env --default-signal=INT true 2>/dev/null; then
    default_signals=yes exec env --default-signal=HUP,INT,TERM,PIPE sh "$0" "$@"
fi
work=$(mktemp -d "${TMPDIR:-/tmp}/htstore-cli-XXXXXX") || exit 99
background=
clean_up() {
    test -z "$background" || kill -KILL "$background" 2>/dev/null
    cd / && chmod -R u+rwx "$work" && rm -rf "$work"
}
trap clean_up EXIT
trap 'exit 99' HUP INT TERM
cd "$work" || exit 99
failures=0

fail() {
    echo "FAIL: $*" >&2
    failures=$((failures + 1))
}

skip() {
    echo "SKIP: $*"
    exit 77
}

# expect STATUS ARGUMENT...: run the program; its output is left in ./out and ./err
expect() {
    want=$1
    shift
    status=0
    "$HTSTORE" "$@" >out 2>err </dev/null || status=$?
    check_status "$*"
}

# feed STATUS FILE ARGUMENT...: the same with FILE as standard input
feed() {
    want=$1
    input=$2
    shift 2
    status=0
    "$HTSTORE" "$@" >out 2>err <"$input" || status=$?
    check_status "$*"
}

check_status() {
    test "$status" = "$want" && return
    fail "status $status, expected $want: htstore $1"
    sed 's/^/    stderr: /' err >&2
}

# says TEXT: the last command said so on stderr;  prints TEXT: a line of its stdout is exactly so
says() {
    grep -qF -e "$1" err || { fail "stderr does not say: $1"; sed 's/^/    stderr: /' err >&2; }
}

prints() {
    grep -qxF -e "$1" out || { fail "stdout has no line: $1"; sed 's/^/    stdout: /' out >&2; }
}

# prints_all FILE: the stdout of the last command is exactly that file
prints_all() {
    cmp -s "$1" out || { fail "stdout differs from $1"; diff -a "$1" out | head -n 10 >&2; }
}

# zstd_accepts FILE...: stock zstd finds these snapshots whole
zstd_accepts() {
    command -v zstd >/dev/null || return 0
    zstd -q -t "$@" 2>zstd.err || fail "zstd -t refuses: $(cat zstd.err)"
}

is_silent() {
    test ! -s out || fail "there is something on stdout"
}

# The last line on stderr
last_line_is() {
    test "$(tail -n 1 err)" = "$1" || fail "the last line is not: $1, but: $(tail -n 1 err)"
}

# start_import ARGUMENT...: an import that owns the store until its input ends: rows are written to descriptor 8,
# acknowledgements read from 9. SIGINT has its default action, which a shell takes away from its background jobs.
start_import() {
    rm -f in.fifo ack.fifo
    mkfifo in.fifo ack.fifo || exit 99
    perl -e '$SIG{INT} = "DEFAULT"; exec @ARGV or exit 99' "$HTSTORE" import --ack-fd=7 --format=text "$@" - \
        <in.fifo 7>ack.fifo >out.background 2>err.background &
    background=$!
    exec 8>in.fifo 9<ack.fifo
}

# end_import: close its input, and wait; its status is in $status
end_import() {
    exec 8>&-
    status=0
    wait "$background" || status=$?
    background=
    exec 9<&-
    cp out.background out
    cp err.background err
}

finish() {
    test "$failures" = 0 && exit 0
    echo "$failures expectations failed" >&2
    exit 1
}
