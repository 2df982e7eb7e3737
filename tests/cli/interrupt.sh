#!/bin/sh
# Signals and closed pipes: what is in stays in, nothing partial is left, and the parent sees why the program ended.
# shellcheck source=tests/cli/lib.sh
. "${0%/*}/lib.sh"
expect 0 init S t --key=string --value=int64 --default=-1

# An import that waits for its third batch is stopped by a signal: two batches are in, the rows after them are not
number=0
for signal in INT TERM HUP; do
    number=$((number + 1))
    expect 0 del S t --all -y
    start_import S t --batch=2
    printf 'a\nb\nc\nd\ne\n' >&8
    read -r first <&9
    read -r second <&9
    test "$first:$second" = 2:4 || fail "acknowledged: $first and $second"
    kill -s "$signal" "$background"
    status=0
    wait "$background" || status=$?
    background=
    exec 8>&- 9<&-
    cp err.background err
    case $signal in
    INT) want=130 ;;
    TERM) want=143 ;;
    HUP) want=129 ;;
    esac
    test "$status" = "$want" || fail "$signal: status $status"
    says 'interrupted'
    says '--skip-rows=4'
    last_line_is 'read 4, inserted 4, replaced 0, kept 0, equal 0, rejected 0'
    expect 0 export S t
    printf 'a\t0\nb\t1\nc\t2\nd\t3\n' >want
    prints_all want
    # it goes on as told
    printf 'a\nb\nc\nd\ne\n' >all.txt
    expect 0 import S t all.txt --skip-rows=4
    expect 0 get S t e
    prints "$(printf 'e\t4')"
done

# refused rows that were set aside before the signal are kept
expect 0 del S t --all -y
start_import S t --batch=2 --rejects=aside --key-col=0 --value-col=1
printf 'a\t1\nb\tx\nc\t3\n' >&8
read -r _ <&9
kill -s TERM "$background"
wait "$background" 2>/dev/null
background=
exec 8>&- 9<&-
test "$(cat aside)" = "$(printf 'b\tx')" || fail 'refused rows are lost'

# a killed import leaves a store that opens with all acknowledged rows
expect 0 del S t --all -y
start_import S t --batch=2 --durability=lazy
printf 'a\nb\nc\nd\n' >&8
read -r _ <&9
read -r _ <&9
kill -s KILL "$background"
wait "$background" 2>/dev/null
background=
exec 8>&- 9<&-
expect 0 put S t z 9
expect 0 export S t
printf 'a\t0\nb\t1\nc\t2\nd\t3\nz\t9\n' >want
prints_all want

# acknowledgements that nobody reads end the import, in an orderly way
mkfifo unread
printf 'k\nl\n' >two.txt
exec 9<>unread
exec 7>unread
exec 9<&-
status=0
"$HTSTORE" import S t two.txt --line-offset=100 --batch=1 --ack-fd=7 >out 2>err </dev/null || status=$?
exec 7>&-
want=1
check_status 'import without a reader of --ack-fd'
says 'descriptor 7'
says '--skip-rows=1'

# an export whose reader goes away ends of SIGPIPE, without a word
seq 1 200000 >rows.txt
expect 0 import S t rows.txt --on-conflict=replace
{
    perl -e '$SIG{PIPE} = "DEFAULT"; system @ARGV; print STDERR $? & 127, "\n"' "$HTSTORE" export S t 2>pipe.err
} | head -n 1 >head.out
test "$(cat pipe.err)" = 13 || fail "a closed pipe: $(cat pipe.err)"
test "$(wc -l <head.out)" = 1 || fail 'no first line'

# an export to a file that is stopped leaves no file
mkfifo slow
perl -e '$SIG{INT} = "DEFAULT"; exec @ARGV' "$HTSTORE" export S t -o slow 2>err.background &
background=$!
exec 9<slow
read -r _ <&9
kill -s INT "$background"
cat <&9 >/dev/null
status=0
wait "$background" || status=$?
background=
exec 9<&-
test "$status" = 130 || fail "export: status $status"
for left in .*.tmp; do
    test ! -e "$left" || fail "left over: $left"
done

# an output that cannot be finished is not there, and nothing is left of it
mkdir full
if test -c /dev/full; then
    ln -s /dev/full full/o.tsv
    expect 8 export S t -o full/o.tsv
fi
(ulimit -f 8; trap '' XFSZ; "$HTSTORE" export S t -o full/short.tsv >out 2>err </dev/null)
test "$?" = 1 || fail 'a file that is too large is no failure'
test ! -e full/short.tsv || fail 'a partial output is there'
test "$(find full -name '.*.tmp')" = '' || fail 'a temporary file is left'
finish
