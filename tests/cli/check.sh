#!/bin/sh
# check: OK for what is whole, status 5 and the place for what is not.
# shellcheck source=tests/cli/lib.sh
. "${0%/*}/lib.sh"

expect 0 init S t --key=string --value=int64 --default=-1
seq 1 20000 >rows.txt
expect 0 import S t rows.txt
expect 0 dump S -o s.snap -q
zstd_accepts s.snap

for level in quick full deep; do
    expect 0 check S --level=$level
    prints 'verdict  OK'
    prints "level    $level"
    test ! -s err || fail 'check of a whole store says something'
    test "$(wc -l <out)" -le 24 || fail 'the verdict does not fit a screen'
done
expect 0 check S --level=quick
grep -q 'structure only; row data not read' out || fail 'quick does not say what it is'
expect 0 check S
grep -q '20000 rows' out || fail 'no count of rows'
expect 0 check s.snap
prints 'verdict  OK'
grep -q '20000 rows' out || fail 'no count of rows of a snapshot'
expect 0 check s.snap -T 1
expect 3 check nothing
expect 7 check rows.txt
mkdir folder
expect 7 check folder

# ---- one changed byte in a row
flip() { # FILE TEXT: change one byte of the first occurrence
    perl -e '
        open my $file, "+<:raw", $ARGV[0] or die;
        local $/;
        my $data = <$file>;
        my $at = index $data, $ARGV[1];
        die "not in the file" if $at < 0;
        seek $file, $at, 0;
        print $file substr($ARGV[1], 0, -1) . chr(ord(substr($ARGV[1], -1)) ^ 1);
    ' "$1" "$2"
}
cp -R S D
flip D/data.mdb 12345
expect 5 check D
prints 'verdict  DAMAGED'
grep -q 'table' out || fail 'the table is not named'
says 'htstore recover'
cp -R D D2
expect 5 check D --level=deep
diff -r -x lock.mdb D D2 || fail 'check has changed the store'

# ---- cut files
for keep in 4096 100 50000; do
    rm -rf C
    cp -R S C
    perl -e 'truncate $ARGV[0], $ARGV[1] or die' C/data.mdb "$keep"
    expect 5 check C --level=quick
    expect 5 check C
done
rm -rf C
cp -R S C
rm C/data.mdb
expect 7 check C

# ---- snapshots
size=$(wc -c <s.snap)
for at in 3 100 $((size / 2)) $((size - 5)); do
    cp s.snap hurt.snap
    perl -e '
        open my $file, "+<:raw", $ARGV[0] or die;
        seek $file, $ARGV[1], 0;
        read $file, my $byte, 1;
        seek $file, -1, 1;
        print $file chr(ord($byte) ^ 16);
    ' hurt.snap "$at"
    status=0
    "$HTSTORE" check hurt.snap >out 2>err </dev/null || status=$?
    test "$status" = 5 || test "$status" = 7 || fail "a byte at $at: status $status"
    test "$at" -lt 50 || test "$status" = 5 || fail "a byte at $at: status $status"
done
perl -e 'truncate $ARGV[0], $ARGV[1] or die' hurt.snap $((size / 2))
expect 5 check hurt.snap
says 'restore --salvage'

# ---- beside an owner
start_import S t --batch=1
echo first >&8
read -r _ <&9
expect 0 check S
prints 'verdict  OK'
expect 0 check S --level=deep
end_import

if command -v python3 >/dev/null; then
    expect 0 check S --json
    python3 - <<'EOF_PY' || fail 'check --json'
import json
r = json.load(open("out"))
assert r["format"] == 1 and r["ok"] and r["level"] == "full" and r["row_data_read"]
assert r["rows"] == 20001 and r["pages"] > 0 and r["damage"] == 0
EOF_PY
    expect 5 check D --json
    python3 - <<'EOF_PY' || fail 'check --json of damage'
import json
r = json.load(open("out"))
assert not r["ok"] and r["damage"] > 0
damage = [f for f in r["findings"] if f["damage"]]
assert damage and all(f["path"].endswith("data.mdb") and f["message"] for f in damage), damage
e = json.load(open("err"))
assert e["status"] == 5
EOF_PY
fi
finish
