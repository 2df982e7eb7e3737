#!/bin/sh
# init, ls, put, get, del: what they do, and what they would do.
# shellcheck source=tests/cli/lib.sh
. "${0%/*}/lib.sh"

# ---- init
expect 0 init S -n
prints 'would create store S'
test ! -e S || fail 'a dry run has created a store'
expect 0 init S words --key=string --value=int64 --default=-1 -n
prints 'would create table words'
test ! -e S || fail 'a dry run has created a store'
expect 0 init S
expect 0 init S
expect 0 init S words --key=string --value=int64 --default=-1 -n
prints 'nothing to do for store S'
prints 'would create table words'
expect 0 ls S
is_silent
expect 0 init S words --key=string --value=int64 --default=-1
expect 0 init S words --key=string --value=int64 --default=-1
expect 0 init S words --key=string --value=int64 --default=-1 -n
prints 'nothing to do for table words'
expect 4 init S words --key=string --value=int64 --default=-1 --no-checkpoint
expect 4 init S words --key=string --value=int64 -n

# ---- default rows
expect 0 init S vectors --key=int8 --value=float32 --shape=2,2 --default=1,2.5,nan,-0
expect 0 get S vectors --or-default -- -5
printf -- '-5\t1\t2.5\tnan\t-0\n' >want
prints_all want
expect 0 init S same --key=int8 --value=int16 --shape=3 --default=-7
expect 0 get S same --or-default 1
printf '1\t-7\t-7\t-7\n' >want
prints_all want
expect 7 init S wrong --key=int8 --value=int16 --shape=3 --default=1,2
expect 7 init S wrong --key=int8 --value=int16 --default=40000
expect 2 init S wrong --key=int8 --value=int16 --shape=-1
expect 7 init S wrong --key=int8 --value=int16 --shape=1,1,1,1,1,1,1,2
expect 0 init S deep --key=int8 --value=int16 --shape=1,1,1,1,1,1,2
expect 0 put S deep 1 2 3
expect 0 export S deep
printf '1\t2\t3\n' >want
prints_all want
expect 2 init S wrong --key=int8 --value=int16 --shape=2,
expect 0 init S texts --key=string --value=string --default='a,b\tc'
expect 0 get S texts --or-default x
printf 'x\ta,b\\tc\n' >want
prints_all want
expect 0 init S lists --key=string --value=string --shape=2 --default='a,b\x2cc'
expect 0 get S lists --or-default x
printf 'x\ta\tb,c\n' >want
prints_all want
expect 0 init S zeros --key=string --value=bool
expect 0 get S zeros --or-default x
printf 'x\tfalse\n' >want
prints_all want

# ---- names
expect 0 init S 'a\/b\\c' --key=string --value=int8
expect 0 put S 'a\/b\\c' k 1
expect 0 ls S
prints 'a\/b\\c'
expect 0 ls S 'a\/b\\c'
expect 2 init S 'a/b' --key=string --value=int8
expect 2 init S 'a\q' --key=string --value=int8
expect 0 ls -l S words
printf 'words\tstring -> int64\t0 rows' >want
grep -q "^$(cat want)" out || fail 'ls -l does not show type and rows'

# ---- put and get
expect 0 put S words apple 1
expect 0 put S words '\x00tab\t' 2
expect 0 put S words --escape=none 'C:\new' 3
expect 0 get S words apple '\x00tab\t' 'C:\\new'
printf 'apple\t1\n\\x00tab\\t\t2\nC:\\\\new\t3\n' >want
prints_all want
expect 0 get S words --escape=none 'C:\new'
expect 3 get S words pear apple
printf 'apple\t1\n' >want
prints_all want
expect 0 put S words apple 5
expect 0 get S words apple apple
printf 'apple\t5\napple\t5\n' >want
prints_all want
expect 0 put S vectors -- -3 1 2 -3 4e2
expect 0 get S vectors -- -3
printf -- '-3\t1\t2\t-3\t400\n' >want
prints_all want
expect 0 put S words apple 6 -n
prints 'would replace "apple"'
expect 0 put S words plum 6 -n
prints 'would insert "plum"'
expect 3 get S words plum
printf 'apple\npear\n\n' >keys
expect 3 get S words --keys-from=keys
says 'no key "pear"'
says 'no key ""'
feed 0 keys get S words --keys-from=- --or-default
printf 'apple\t5\npear\t-1\n\t-1\n' >want
prints_all want

# ---- del
expect 0 del S words apple -n
prints 'would remove "apple"'
expect 0 get S words apple
expect 3 del S words apple pear
says 'no key "pear"'
expect 3 get S words apple
expect 0 del S words --all -n
prints 'would empty table words with 2 rows'
expect 0 del S words --all -y
expect 0 export S words
is_silent
expect 0 del S words --drop -n
prints 'would drop table words with 0 rows'
expect 0 del S words --drop -y
expect 3 ls S words
expect 0 init S words --key=int32 --value=int8
seq 1 20000 >keys
sed 's/$/\t1/' keys >rows.tsv
expect 0 import S words rows.tsv
expect 0 del S words --keys-from=keys
expect 0 export S words
is_silent

# ---- questions are asked on terminals only
if command -v python3 >/dev/null; then
    cat >ask.py <<'PY'
import os, pty, sys
answer, arguments = sys.argv[1], sys.argv[2:]
pid, fd = pty.fork()
if pid == 0:
    os.execv(arguments[0], arguments)
text = b""
while b"(y/n)" not in text:
    data = os.read(fd, 1024)
    if not data:
        break
    text += data
os.write(fd, answer.encode() + b"\n")
try:
    while os.read(fd, 1024):
        pass
except OSError:
    pass
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
PY
    expect 0 put S words 1 1
    status=0
    python3 ask.py n "$HTSTORE" del S words --all || status=$?
    test "$status" = 4 || fail "the answer n: status $status"
    expect 0 get S words 1
    python3 ask.py y "$HTSTORE" del S words --all || fail 'the answer y is refused'
    expect 3 get S words 1
    echo kept >file.tsv
    status=0
    python3 ask.py n "$HTSTORE" export S words -o file.tsv || status=$?
    test "$status:$(cat file.tsv)" = 4:kept || fail 'an output is overwritten against the answer'
    python3 ask.py y "$HTSTORE" export S words -o file.tsv || fail 'overwriting is refused'
    test ! -s file.tsv || fail 'the output is not overwritten'
fi
finish
