#!/bin/sh
# dump, restore, and info of snapshots: whole or not at all, through files and pipes.
# shellcheck source=tests/cli/lib.sh
. "${0%/*}/lib.sh"

expect 0 init S words --key=string --value=int64 --default=-1
expect 0 init S private --key=int32 --value=string --no-checkpoint
seq 1 50000 >rows.txt
expect 0 import S words rows.txt
expect 0 put S private 7 seven
expect 0 link S words vocab/en
expect 0 link S vocab vocab/self
for table in words private; do
    "$HTSTORE" export S $table >$table.tsv || fail "export of $table"
done
"$HTSTORE" ls -R S >tree

# same STORE: it holds what S holds
same() {
    for table in words private; do
        "$HTSTORE" export "$1" $table 2>same.err | cmp -s - $table.tsv || fail "$1: other rows in $table"
    done
    "$HTSTORE" ls -R "$1" 2>same.err | cmp -s - tree || fail "$1: another tree"
    "$HTSTORE" check "$1" >same.out 2>&1 || fail "$1: does not pass its check"
}

# ---- files
expect 0 dump S -o s.snap
says '50001 rows'
is_silent
expect 4 dump S -o s.snap
expect 0 dump S -o s.snap -f -q
test ! -s err || fail '-q is not quiet'
expect 0 restore s.snap R
says '50001 rows; verified: full'
same R
expect 4 restore s.snap R
expect 0 restore s.snap R --if-absent
says 'is there already'
expect 0 restore s.snap Q --verify=quick
same Q
expect 0 restore s.snap N --verify=none -q
test ! -s err || fail '-q is not quiet'
same N
rm -rf R Q N

# ---- pipes
"$HTSTORE" dump S 2>err | "$HTSTORE" restore - R 2>err2 || fail 'through a pipe'
same R
rm -rf R
"$HTSTORE" dump S -o - 2>err | cat | "$HTSTORE" restore /dev/stdin R 2>err2 || fail 'through /dev/stdin'
same R
rm -rf R
feed 0 s.snap restore - R
same R
rm -rf R
mkfifo fifo
"$HTSTORE" dump S -o fifo 2>err &
expect 0 restore fifo R
wait
test -p fifo || fail 'a FIFO is replaced'
same R
zstd_accepts s.snap
"$HTSTORE" dump S 2>err >piped.snap || fail 'dump to stdout'
zstd_accepts piped.snap

# ---- text
expect 0 dump S --format=mdb -o s.dump
expect 0 restore s.dump T
says '50001 rows'
same T
rm -rf T
feed 0 s.dump restore - T --verify=quick
same T
expect 4 restore s.dump T
rm -rf T
expect 2 restore s.dump T --salvage
head -c 5000 s.dump >cut.dump
expect 5 restore cut.dump T
feed 5 cut.dump restore - T
test ! -e T || fail 'a store is left of half a dump'
expect 0 dump S --format=mdb --compat=bdb
! grep -q mapsize out || fail '--compat=bdb has words that db_load refuses'
if command -v mdb_load >/dev/null; then
    mdb_load -n -f s.dump s.mdb 2>err || fail 'mdb_load refuses the dump'
fi

# ---- info
expect 0 info s.snap
prints 'rows     50001'
prints 'objects  3'
expect 0 info s.snap --json
grep -q '"rows":50001' out || fail 'info --json'
grep -qF '"entries":["words/.ATTRIBUTES/table-keys","words/.ATTRIBUTES/table-values"]' out || fail 'info --json: entries'
expect 7 info rows.txt
expect 7 restore rows.txt X
test ! -e X || fail 'a store is left of what is no snapshot'

# ---- damage
cp s.snap cut.snap
perl -e 'truncate $ARGV[0], (-s $ARGV[0]) / 2 or die' cut.snap
expect 5 restore cut.snap X
test ! -e X || fail 'a store is left of half a snapshot'
says '--salvage'
feed 5 cut.snap restore - X
test ! -e X || fail 'a store is left of half a stream'
expect 5 info cut.snap
cp s.snap hurt.snap
perl -e '
    open my $file, "+<:raw", $ARGV[0] or die;
    seek $file, (-s $file) / 2, 0;
    read $file, my $byte, 1;
    seek $file, -1, 1;
    print $file chr(ord($byte) ^ 1);
' hurt.snap
expect 5 restore hurt.snap X
says 'rerun with --salvage'
test ! -e X || fail 'a store is left of a damaged snapshot'
expect 10 restore hurt.snap X --salvage
says 'incomplete'
"$HTSTORE" export X words >rest.tsv
lost=$(LC_ALL=C comm -23 words.tsv rest.tsv | wc -l)
more=$(LC_ALL=C comm -13 words.tsv rest.tsv | wc -l)
test "$((lost > 0)):$more" = 1:0 || fail "salvaged: $lost rows lost, $more new"
rm -rf X
expect 0 restore s.snap X --salvage
same X
rm -rf X
: >empty
expect 7 restore empty X
expect 3 restore nothing X
expect 3 restore s.snap nowhere/X

# ---- a damaged store is not dumped
cp -R S D
perl -e '
    open my $file, "+<:raw", $ARGV[0] or die;
    local $/;
    my $data = <$file>;
    my $at = index $data, "12345";
    die if $at < 0;
    seek $file, $at, 0;
    print $file "12346";
' D/data.mdb
expect 5 dump D -o d.snap
test ! -e d.snap || fail 'a snapshot of a damaged store is left'
for left in .*.tmp .*.snap*; do
    test ! -e "$left" || fail "left over: $left"
done

# ---- beside an owner
start_import S words --batch=1
echo first >&8
read -r _ <&9
expect 0 dump S -o beside.snap
expect 0 info beside.snap
zstd_accepts beside.snap
end_import
rm -rf R
expect 0 restore beside.snap R
"$HTSTORE" export R words | cmp -s - words.tsv || fail 'a dump beside an owner shows another state'

# ---- never to a terminal
if command -v python3 >/dev/null; then
    cat >terminal.py <<'PY'
import os, pty, sys
pid, fd = pty.fork()
if pid == 0:
    os.execv(sys.argv[1], sys.argv[1:])
text = b""
try:
    while True:
        data = os.read(fd, 4096)
        if not data:
            break
        text += data
except OSError:
    pass
assert b"\x00" not in text and len(text) < 1000, text
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
PY
    for arguments in 'dump S' 'dump S -o -' 'dump S -o - -f' 'dump S -o /dev/tty'; do
        status=0
        # shellcheck disable=SC2086
        python3 terminal.py "$HTSTORE" $arguments || status=$?
        test "$status" = 2 || fail "$arguments to a terminal: status $status"
    done
    status=0
    python3 terminal.py "$HTSTORE" restore - T || status=$?
    test "$status" = 2 || fail "restore from a terminal: status $status"
    expect 0 dump S --json -o j.snap
    python3 -c 'import json; r = json.load(open("out")); assert r["rows"] == 50002 and r["lsn"] > 0 and r["bytes"] > 0' ||
        fail 'dump --json'
    rm -rf R
    expect 0 restore j.snap R --json
    python3 -c 'import json; r = json.load(open("out")); assert r["whole"] and r["restored"] and r["verified"] == "full"' ||
        fail 'restore --json'
    expect 0 restore j.snap R --json --if-absent
    python3 -c 'import json; assert not json.load(open("out"))["restored"]' || fail 'restore --json --if-absent'
    "$HTSTORE" dump S --json 2>err >j2.snap
    python3 -c 'import json; assert json.load(open("err"))["lsn"] > 0' || fail 'dump --json to stdout'
    cmp -s j.snap j2.snap || fail 'the report is in the snapshot'
fi

# ---- interrupted, and a reader that goes away
mkfifo slow
perl -e '$SIG{INT} = "DEFAULT"; exec @ARGV' "$HTSTORE" restore slow I 2>err.background &
background=$!
exec 8>slow
head -c 1000 s.snap >&8
kill -s INT "$background"
status=0
wait "$background" || status=$?
background=
exec 8>&-
test "$status" = 130 || fail "restore: status $status"
grep -q 'interrupted; no store was made' err.background || fail 'restore does not say that it was interrupted'
for left in I .*.new* .I* I.*; do
    test ! -e "$left" || fail "left over: $left"
done
expect 0 init S noise --key=int64 --value=int64 # more than a pipe holds
perl -e 'srand 1; printf "%d\t%d\n", rand(1e15), rand(1e15) for 1 .. 300000' >noise.tsv
expect 0 import S noise noise.tsv --on-conflict=replace
mkfifo slower
perl -e '$SIG{INT} = "DEFAULT"; exec @ARGV' "$HTSTORE" dump S -o slower 2>err.background &
background=$!
exec 9<slower
head -c 1000 <&9 >/dev/null
kill -s INT "$background"
cat <&9 >/dev/null
status=0
wait "$background" || status=$?
background=
exec 9<&-
test "$status" = 130 || fail "dump: status $status"
grep -q 'interrupted; no snapshot is left' err.background || fail 'dump does not say that it was interrupted'
{
    perl -e '$SIG{PIPE} = "DEFAULT"; system @ARGV; print STDERR $? & 127, "\n"' "$HTSTORE" dump S 2>pipe.err
} | head -c 10 >head.out
test "$(cat pipe.err)" = 13 || fail "a closed pipe: $(cat pipe.err)"
finish
