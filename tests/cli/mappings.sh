#!/bin/sh
# link, and everything that goes through mappings: ls -R, paths as arguments, variables.
# shellcheck source=tests/cli/lib.sh
. "${0%/*}/lib.sh"

expect 0 init S words --key=string --value=int64 --default=-1
expect 0 init S more --key=int8 --value=float32 --shape=2
expect 0 put S words apple 1

# ---- link
expect 0 link S words vocab/en -n
printf 'would make mapping vocab/\nwould add words as vocab/en, which cannot be undone\n' >want
prints_all want
expect 3 ls S vocab
expect 0 link S words vocab/en
says 'words is now vocab/en too; this cannot be undone'
is_silent
expect 0 link S words vocab/en
test ! -s err || fail 'a link that is there already is told'
expect 0 link S words vocab/en -v
says 'is there already'
expect 0 link S words vocab/en -n
prints 'nothing to do for vocab/en'
expect 4 link S more vocab/en
says 'is another object already'
expect 4 link S more vocab/en -n
expect 0 link S more vocab/a/b/c -n
printf 'would make mapping vocab/a/\nwould make mapping vocab/a/b/\nwould add more as vocab/a/b/c, which cannot be undone\n' >want
prints_all want
expect 0 link S more vocab/a/b/c -q
test ! -s err || fail '-q is not quiet'
expect 4 link S more words/x
says 'only mappings have entries'
expect 4 link S more vocab/en/x
expect 3 link S nothing vocab/x
expect 3 link S vocab/nothing vocab/x
expect 3 ls S vocab/x
expect 0 link S vocab/en 'vocab/\e'
expect 0 link S words 'vocab/with\/slash'
expect 0 link S vocab vocab/self
expect 0 link S vocab vocab/a/b/up
expect 0 link S words other/deep/er

# ---- ls
expect 0 ls S
printf 'more\nother/\nvocab/\nwords\n' >want
prints_all want
expect 0 ls S vocab
printf '%s\n' vocab/en vocab/a/ 'vocab/\e' 'vocab/with\/slash' vocab/self/ >want
prints_all want
expect 0 ls S vocab/
prints_all want
expect 0 ls S vocab/en
prints vocab/en
expect 0 ls -R S
{
    printf '%s\n' more other/ other/deep/ other/deep/er vocab/ vocab/en vocab/a/ vocab/a/b/ vocab/a/b/c
    printf 'vocab/a/b/up/\tsee vocab/\n'
    printf '%s\n' 'vocab/\e' 'vocab/with\/slash'
    printf 'vocab/self/\tsee vocab/\nwords\n'
} >want
prints_all want
expect 0 ls -R S vocab/a
printf 'vocab/a/b/\nvocab/a/b/c\nvocab/a/b/up/\n' >want
head -n 3 out | cmp -s - want || fail 'ls -R of a mapping below'
grep -q "^vocab/a/b/up/a/$(printf '\t')see vocab/a/\$" out || fail 'the mapping that is listed itself is not cut'
expect 0 ls -lR S
grep -q "^vocab/a/b/c$(printf '\t')int8 -> float32\[2\]$(printf '\t')0 rows" out || fail 'no type of a table below'
grep -q "^vocab/a/$(printf '\t')mapping$(printf '\t')1 entries" out || fail 'no type of a mapping'
expect 3 ls S vocab/nothing
says 'has no key "nothing"'
expect 3 ls S vocab/en/x
expect 3 ls S vocab/en/

# every path that is printed is an argument
"$HTSTORE" ls -R S | cut -f 1 >paths
while read -r path; do
    expect 0 ls S "$path"
done <paths

# ---- tables by their paths
expect 0 get S vocab/en apple
prints "$(printf 'apple\t1')"
expect 0 get S 'vocab/\e' apple
expect 0 get S vocab/self/self/a/b/up/en apple
expect 0 put S vocab/en pear 2
expect 0 get S words pear
expect 0 export S other/deep/er
printf 'apple\t1\npear\t2\n' >want
prints_all want
printf 'plum\t3\n' >in.tsv
expect 0 import S vocab/en in.tsv
expect 0 del S vocab/en apple
expect 3 get S words apple
expect 7 get S vocab x
says 'is a mapping'
expect 7 put S vocab x 1
expect 7 export S vocab
expect 4 del S words --drop -y
says 'mapping'
expect 4 del S vocab/en --drop -y
says 'an entry of a mapping'
expect 7 del S vocab --drop -y
expect 4 init S vocab --key=string --value=int64
expect 0 del S vocab/en --all -y
expect 0 export S words
is_silent

# ---- beside an owner, and not at all without one
start_import S words --batch=1
echo first >&8
read -r _ <&9
expect 6 link S words vocab/new
expect 0 ls -R S
expect 0 get S vocab/en first --or-default
end_import

# ---- deep, and many
path=deep
for i in $(seq 60); do path=$path/$i; done
expect 0 link S words "$path"
expect 0 ls -R S deep
test "$(wc -l <out)" = 60 || fail 'not all of a deep tree'
expect 0 export S "$path"

# ---- piped into head
{
    perl -e '$SIG{PIPE} = "DEFAULT"; system @ARGV; print STDERR $? & 127, "\n"' \
        sh -c 'exec 2>err; while "$0" ls -lR S; do :; done' "$HTSTORE" 2>pipe.err
} | head -n 1 >head.out
test "$(cat pipe.err)" = 0 || test "$(cat pipe.err)" = 13 || fail "a closed pipe: $(cat pipe.err)"
test ! -s err || fail 'a closed pipe is told'

# ---- JSON
if command -v python3 >/dev/null; then
    expect 0 ls -R S --json
    python3 - out <<'EOF_PY' || fail 'ls --json'
import json, sys
lines = [json.loads(line) for line in open(sys.argv[1])]
by_path = {line["path"]: line for line in lines}
assert all(line["format"] == 1 and line["lsn"] > 0 for line in lines)
assert by_path["words"]["kind"] == "table" and by_path["words"]["name"] == "words"
assert by_path["vocab"]["kind"] == "mapping" and by_path["vocab"]["entries"] == 5
assert by_path["vocab/en"]["id"] == by_path["words"]["id"]
assert by_path["vocab/\\e"]["names"] == ["vocab", ""]
assert by_path["vocab/with\\/slash"]["names"] == ["vocab", "with/slash"]
assert by_path["vocab/self"]["same_as"] == "vocab" and "same_as" not in by_path["vocab"]
assert "name" not in by_path["vocab/a"]
EOF_PY
    expect 0 link S words new/one/two --json
    python3 -c 'import json; r = json.load(open("out")); assert r["added"] and r["mappings_created"] == 2' ||
        fail 'link --json'
    expect 0 link S words new/one/two --json
    python3 -c 'import json; r = json.load(open("out")); assert not r["added"] and r["mappings_created"] == 0' ||
        fail 'link --json, again'
    expect 4 link S more new/one/two --json
    is_silent
fi

# ---- variables
make_variables=${top_builddir:-.}/tests/make_variables
test -x "$make_variables" || finish
"$make_variables" V || fail 'no variables'
expect 0 ls V
printf '%s\n' big empty matrix model/ text vector words >want
prints_all want
expect 0 ls -l V matrix
grep -q "^matrix$(printf '\t')variable float32\[2,3\]$(printf '\t')6 elements" out || fail 'no type of a variable'
expect 0 ls -lR V
grep -q "^model/$(printf '\t')mapping, layer" out || fail 'no layer'
expect 0 get V matrix
printf '0\t1\t2.5\n-3\tnan\tinf\n' >want
prints_all want
expect 0 get V model/w
prints_all want
expect 0 get V text
prints 'tab\there'
expect 0 get V vector
prints "$(printf '1\t-2\t3\t9223372036854775807')"
expect 0 get V empty
test "$(wc -c <out)" = 1 || fail 'an empty vector is not an empty line'
expect 0 get V words
printf 'a\t\nc\\\\\td\n' >want
prints_all want
expect 0 get V model/loss
prints 0
expect 0 get V big
test "$(wc -l <out)" = 1000 || fail 'not all rows of a matrix'
tail -n 1 out | grep -q "$(printf '^699300\t.*\t699999$')" || fail 'the last row of a matrix'
expect 2 get V matrix key
says 'takes no keys'
expect 7 put V matrix 1 2
says 'is a variable'
expect 7 export V matrix
if command -v python3 >/dev/null; then
    expect 0 get V matrix --json
    python3 - <<'EOF_PY' || fail 'get --json of a matrix'
import json
r = json.load(open("out"))
assert r["value_shape"] == [2, 3] and r["value_dtype"] == "float32"
assert r["value"] == [[0, 1, 2.5], [-3, "NaN", "Infinity"]], r
EOF_PY
    expect 0 get V text --json
    python3 -c 'import json; assert json.load(open("out"))["value"] == "tab\there"' || fail 'get --json of a text'
    expect 0 get V empty --json
    python3 -c 'import json; assert json.load(open("out"))["value"] == []' || fail 'get --json of nothing'
    expect 0 get V big --json
    python3 -c 'import json; v = json.load(open("out"))["value"]; assert sum(v, []) == list(range(700000))' ||
        fail 'get --json of a large matrix'
fi
finish
