#!/bin/sh
# Every exit status can be reached, and each failure says what it is about.
# shellcheck source=tests/cli/lib.sh
. "${0%/*}/lib.sh"

expect 0 init S t --key=string --value=int64
expect 0 put S t a 1

# 2: wrong use
expect 2
expect 2 nothing S
expect 2 get
expect 2 get S
expect 2 get S t
expect 2 get S t a --nothing
says 'unknown option --nothing'
says 'htstore help get'
test "$(wc -l <err)" = 1 || fail 'a wrong option prints more than one line'
expect 2 get S t -5
says 'put -- before a negative number'
expect 2 get S t a --keys-from
says 'needs a value'
expect 2 get S t a --or-default=yes
says 'takes no value'
expect 2 export S t extra
expect 2 put S t a --timeout=never 1
expect 2 import S t x.tsv --batch=0
expect 2 import S t x.tsv --on-conflict=maybe
expect 2 init S u --key=string --value=int65
expect 2 init S u
expect 2 init S --key=string
expect 2 recover S
expect 2 del S t
expect 2 del S t a --all
expect 2 link S t
expect 2 link S t alone
expect 2 link S t m/
expect 2 dump
expect 2 dump S --level=20
expect 2 dump S --format=tar
expect 2 restore s.snap
expect 2 restore s.snap R --verify=maybe
expect 2 check
expect 2 check S --level=deeper
expect 2 check S -T x
expect 2 checkpoint
expect 2 checkpoint save
expect 2 checkpoint nothing S
says 'save, ls, rm, prune, verify or diff'
expect 2 checkpoint rm S
expect 2 checkpoint rm S one
expect 2 checkpoint prune S
expect 2 checkpoint prune S --keep-every=6
expect 2 checkpoint prune S --keep-last=0
expect 2 checkpoint ls S --keep-last=1
says 'takes no --keep-last'
expect 2 checkpoint ls S -n
expect 2 checkpoint diff S 1
expect 2 checkpoint save S extra

# 3: not found
expect 3 get S t nothing
says 'no key "nothing"'
expect 3 get S u a
expect 3 ls S u
expect 3 del S t nothing
expect 3 import S t nothing.tsv
expect 3 get S t --keys-from=nothing.txt
expect 3 get S a/b x
says 'there is no "a"'
expect 3 get S t/b x
says 'nothing below it'
expect 3 ls S t/
expect 2 get S 'a//b' x
expect 2 get S /t x
expect 2 get S 'a\q' x
expect 2 get S ''
expect 3 restore nothing R
expect 3 check nothing
expect 3 checkpoint diff S 7 8
expect 3 checkpoint verify S 7
expect 3 link S nothing m/k
expect 3 checkpoint save S --root=nothing

# 3, and nothing is created
for arguments in 'info N' 'ls N' 'get N t a' 'put N t a 1' 'del N t a' 'export N t' 'import N t S.tsv' 'recover N -o M' \
    'link N t m/k' 'dump N -o M' 'check N' 'checkpoint save N' 'checkpoint ls N' 'checkpoint verify N' \
    'checkpoint rm N 1' 'checkpoint prune N --keep-last=1' 'checkpoint diff N 1 2' 'restore N M'; do
    : >S.tsv
    # shellcheck disable=SC2086
    expect 3 $arguments
    for path in N M; do
        test ! -e $path || fail "$arguments has created something"
    done
done

# 4: exists, conflict, refused
expect 4 put S t a 2 --new
expect 0 get S t a
prints "$(printf 'a\t1')"
expect 0 put S t b 2 --new
expect 4 init S t --key=string --value=int32
says 'int32'
says 'int64'
expect 4 init S t --key=string --value=int64 --default=5
expect 0 init S t --key=string --value=int64
expect 0 export S t -o o.tsv
expect 4 export S t -o o.tsv
expect 0 export S t -o o.tsv -f
expect 4 del S t --all
says '-y'
expect 4 del S t --drop
expect 4 recover S -o S

# 7: wrong type, shape, kind of file
expect 7 put S t a one
says '"one" is not an int64'
expect 7 put S t a 1 2
expect 7 put S t 'a\q' 1
expect 7 info o.tsv
expect 7 get o.tsv t a
expect 7 restore S R
mkdir folder
expect 7 info folder
expect 7 init S half --key=float16 --value=int8
expect 7 init S big --key=int8 --value=float64 --shape=100000,100000

# 10: finished, with warnings
printf 'c\t3\nd\tx\n' >r.tsv
expect 10 import S t r.tsv --max-errors=1

# 8: no space on the device of the output
if test -c /dev/full; then
    for arguments in 'export S t' 'get S t a' 'ls S' 'info S' 'help' 'version' 'help import' 'dump S' 'check S' 'ls -R S'; do
        want=8
        status=0
        # shellcheck disable=SC2086
        "$HTSTORE" $arguments >/dev/full 2>err </dev/null || status=$?
        check_status "$arguments >/dev/full"
        says 'No space left'
    done
    expect 8 export S t -o /dev/full
    expect 8 dump S -o /dev/full
    test -c /dev/full || fail 'dump has replaced a device'
fi

# 1: an output that is closed
want=1
status=0
"$HTSTORE" export S t >&- 2>err </dev/null || status=$?
check_status 'export >&-'

# messages never go into the store, even if it is opened by a program without standard descriptors
"$HTSTORE" put S t closed one <&- >&- 2>&-
"$HTSTORE" put S t closed 7 <&- >&- 2>&-
expect 0 get S t closed
prints "$(printf 'closed\t7')"
expect 0 export S t

# 1: no permission (root may do everything)
if test "$(id -u)" != 0; then
    mkdir locked && chmod a-w locked
    expect 1 export S t -o locked/o.tsv
fi

# 6: owned by another process, whose readers go on
start_import S t --batch=1 --line-offset=100
echo first >&8
read -r _ <&9
expect 6 put S t z 1
expect 6 init S v --key=string --value=int8
expect 6 del S t a
expect 6 import S t r.tsv
expect 6 recover S -o R
test ! -e R || fail 'recover has left something'
expect 6 link S t m/k
expect 6 checkpoint save S
expect 6 checkpoint rm S 1
expect 6 checkpoint prune S --keep-last=1
expect 0 dump S -o beside.snap
expect 0 check S
expect 0 checkpoint ls S
expect 0 checkpoint diff S beside.snap S
expect 0 ls -lR S
expect 0 get S t a
expect 0 info S
expect 0 ls S
expect 0 export S t
# one that waits for it gets its turn
"$HTSTORE" put S t patient 1 --timeout=60 >wait.out 2>wait.err </dev/null 7>&- 8>&- 9<&- &
patient=$!
expect 6 put S t z 1 --timeout=0.05
end_import
test "$status" = 0 || fail "the owner ended with status $status"
wait "$patient" || fail "the one that waited: $(cat wait.err)"
expect 0 get S t patient
expect 0 get S t first
prints "$(printf 'first\t100')"
finish
