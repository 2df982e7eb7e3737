#!/bin/sh
# checkpoint: save, ls, rm, prune, verify, diff.
# shellcheck source=tests/cli/lib.sh
. "${0%/*}/lib.sh"

expect 0 init S words --key=string --value=int64 --default=-1
expect 0 init S other --key=string --value=int64
printf 'a\t1\nb\t2\nc\t3\n' >rows.tsv
expect 0 import S words rows.tsv
expect 0 link S words vocab/en

# ---- ls makes nothing
for command in ls verify; do
    expect 0 checkpoint $command S --folder=none
    is_silent
    expect 0 checkpoint $command S
    is_silent
    test ! -e none || fail "$command has made the folder"
    test "$(find S/checkpoints -type f)" = '' || fail "$command has made a file"
done
says 'no checkpoints'

# ---- save
expect 0 checkpoint save S -n
prints 'would save S/checkpoints/ckpt-1'
test "$(find S/checkpoints -type f)" = '' || fail 'a dry run has made a file'
expect 0 checkpoint save S -n --folder=none
test ! -e none || fail 'a dry run has made the folder'
expect 0 checkpoint save S
prints 'S/checkpoints/ckpt-1'
says '3 rows'
test -f S/checkpoints/ckpt-1 || fail 'no file'
expect 0 put S words d 4
expect 0 put S words a 10
expect 0 del S words b
expect 0 checkpoint save S
prints 'S/checkpoints/ckpt-2'
expect 0 checkpoint save S --root=vocab
expect 0 info S/checkpoints/ckpt-3
! grep -q other out || fail '--root saves more than it reaches'
expect 0 checkpoint save S --root=words
expect 3 checkpoint save S --root=nothing
zstd_accepts S/checkpoints/ckpt-*[0-9]
expect 0 checkpoint ls S
test "$(cut -f 1 out | tr '\n' ' ')" = '1 2 3 4 ' || fail "ls: $(cat out)"
grep -q 'T..:..:..Z' out || fail 'ls: no instant'
! grep -q 'kept for good' out || fail 'ls: all are listed'
find S -newer S/checkpoints/ckpt-4 -type f >before
expect 0 checkpoint ls S
find S -newer S/checkpoints/ckpt-4 -type f >after
cmp -s before after || fail 'ls makes files'

# ---- verify
expect 0 checkpoint verify S
test "$(grep -c "$(printf '\tOK\t')" out)" = 4 || fail 'verify: not all are OK'
expect 0 checkpoint verify S 2 S/checkpoints/ckpt-1
test "$(wc -l <out)" = 2 || fail 'verify of two'
expect 3 checkpoint verify S 77

# ---- diff
expect 0 checkpoint diff S 1 2
grep -q "words$(printf '\t')table$(printf '\t')changed$(printf '\t')+1 -1 ~1\$" out || fail "diff: $(cat out)"
expect 10 checkpoint diff S 1 2 --exit-code
expect 0 checkpoint diff S 2 2 --exit-code
is_silent
expect 0 checkpoint diff S 2 S --exit-code
expect 10 checkpoint diff S S/checkpoints/ckpt-1 S --exit-code
expect 3 checkpoint diff S 1 77
expect 7 checkpoint diff S 1 rows.tsv

# ---- rm
expect 4 checkpoint rm S 3
says '-y'
expect 0 checkpoint rm S 3 -n
grep -q '^would delete checkpoint 3 ' out || fail 'rm -n'
expect 3 checkpoint rm S 3 77 -y
test -f S/checkpoints/ckpt-3 || fail 'rm of several deletes some before it knows all'
expect 0 checkpoint rm S 3 03 3 -y
test "$(grep -c 'deleted checkpoint 3 ' err)" = 1 || fail 'rm of a number that is given twice'
test ! -e S/checkpoints/ckpt-3 || fail 'rm does not delete'
expect 3 checkpoint rm S 3 -y

# what the manager does not list stays
cp S/checkpoints/ckpt-1 S/checkpoints/ckpt-90
expect 0 checkpoint ls S
grep -q "^90$(printf '\t').*kept for good" out || fail 'a file that is not listed is not told'
expect 4 checkpoint rm S 90 -y
test -f S/checkpoints/ckpt-90 || fail 'a file that is not listed is deleted'

# ---- prune
expect 4 checkpoint prune S --keep-last=1
cp S/checkpoints/ckpt-4 whole
perl -e 'truncate $ARGV[0], (-s $ARGV[0]) - 20 or die' S/checkpoints/ckpt-4
for option in -y -n; do
    expect 5 checkpoint prune S --keep-last=1 $option
    says 'ckpt-4: it would stay as the newest checkpoint, but is not intact'
done
for number in 1 2 4; do
    test -f S/checkpoints/ckpt-$number || fail 'prune deletes while the newest is damaged'
done
cp whole S/checkpoints/ckpt-4
expect 0 checkpoint prune S --keep-last=1 -n
test "$(cut -d ' ' -f 4 out | tr '\n' ' ')" = '1 2 ' || fail "prune -n: $(cat out)"
test -f S/checkpoints/ckpt-1 || fail 'a dry run deletes'
expect 0 checkpoint prune S --keep-last=2 -y
test ! -e S/checkpoints/ckpt-1 || fail 'prune does not delete'
for number in 2 4; do
    test -f S/checkpoints/ckpt-$number || fail 'prune deletes others'
done
expect 0 checkpoint prune S --keep-last=2 -y
expect 0 checkpoint prune S --keep-last=2 --keep-every=6h -n
is_silent
expect 0 checkpoint save S --keep-last=1
says 'deleted checkpoint'
expect 0 checkpoint ls S
test "$(cut -f 1 out | tr '\n' ' ')" = '90 91 ' || fail "save --keep-last: $(cat out)"

# ---- another folder and prefix
expect 0 checkpoint save S --folder=away --prefix=words
prints 'away/words-1'
expect 0 checkpoint ls S --folder=away --prefix=words
test "$(wc -l <out)" = 1 || fail 'ls of another folder'
expect 0 checkpoint diff S 1 S --folder=away --prefix=words --exit-code
expect 2 checkpoint save S --prefix=a/b

# ---- restored
zstd_accepts away/words-1 S/checkpoints/ckpt-9[01]
expect 0 restore away/words-1 R
expect 0 export R words
printf 'a\t10\nc\t3\nd\t4\n' >want
prints_all want

# ---- damage
perl -e 'truncate $ARGV[0], (-s $ARGV[0]) - 20 or die' S/checkpoints/ckpt-90
expect 5 checkpoint verify S
grep -q "ckpt-90$(printf '\t')DAMAGED" out || fail 'verify does not name the damaged one'
grep -q "ckpt-91$(printf '\t')OK" out || fail 'verify does not go on after damage'
expect 0 checkpoint verify S 91
expect 5 checkpoint diff S 90 91

# ---- beside an owner
start_import S words --batch=1
echo first >&8
read -r _ <&9
expect 6 checkpoint save S
expect 6 checkpoint prune S --keep-last=1 -y
expect 0 checkpoint ls S
expect 0 checkpoint verify S 91
expect 0 checkpoint diff S 91 S
end_import

if command -v python3 >/dev/null; then
    expect 0 checkpoint save S --json
    python3 -c 'import json; r = json.load(open("out")); assert r["format"] == 1 and r["path"].endswith("ckpt-92") and r["lsn"] > 0' ||
        fail 'save --json'
    expect 0 checkpoint ls S --json
    python3 - <<'EOF_PY' || fail 'ls --json'
import json
lines = [json.loads(line) for line in open("out")]
assert [l["number"] for l in lines] == [90, 91, 92], lines
assert [l["listed"] for l in lines] == [False, True, True], lines
assert all(l["format"] == 1 and l["bytes"] > 0 for l in lines)
EOF_PY
    expect 0 checkpoint diff S 91 92 --json
    python3 - <<'EOF_PY' || fail 'diff --json'
import json
lines = [json.loads(line) for line in open("out")]
words = [l for l in lines if l["path"].endswith("words")]
assert words and words[0]["added"] == 1 and words[0]["change"] == "changed", lines
EOF_PY
    expect 0 checkpoint verify S 92 --json
    python3 -c 'import json; r = json.load(open("out")); assert r["ok"] and r["blocks"] > 0' || fail 'verify --json'
    expect 0 checkpoint prune S --keep-last=1 -n --json
    python3 -c 'import json; r = json.load(open("out")); assert r["number"] == 91 and r["dry_run"]' || fail 'prune --json'
fi
finish
