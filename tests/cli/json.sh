#!/bin/sh
# --json: well-formed documents and lines with "format": 1, on stdout and on stderr.
# shellcheck source=tests/cli/lib.sh
. "${0%/*}/lib.sh"
command -v python3 >/dev/null || skip 'no python3'

# Each line of a file is an object with "format": 1; `check` is a Python expression over the list `lines`
cat >check.py <<'EOF_PY'
import json, sys
def refuse(word):
    raise ValueError(word)
lines = [json.loads(line, parse_constant=refuse) for line in open(sys.argv[1], encoding="utf-8").read().splitlines()]
assert lines, "nothing there"
assert all(line["format"] == 1 for line in lines), lines
assert eval(sys.argv[2]), lines
EOF_PY
is_json() {
    python3 check.py "$1" "$2" 2>python.err || { fail "$1: not so: $2"; tail -n 1 python.err >&2; }
}

expect 0 init S t --key=string --value=float64 --shape=2 --json
is_json out 'lines[0]["store_created"] and lines[0]["table_created"]'
expect 0 init S u --key=uint64 --value=string --json
is_json out 'not lines[0]["store_created"]'
expect 0 put S t --json 'a"\\\n\x01é' -- 0.1 -0
is_json out 'lines == [{"format": 1, "dry_run": False, "inserted": 1, "replaced": 0}]'
expect 0 put S t --json '\xff' nan inf
expect 0 put S t --json '\x00' -- -inf 1e300
expect 0 get S t --json 'a"\\\n\x01é' '\xff' '\x00'
is_json out '[l["key"] for l in lines] == ["a\"\\\n\x01é", {"base64": "/w=="}, "\0"]'
is_json out '[l["value"] for l in lines] == [[0.1, 0], ["NaN", "Infinity"], ["-Infinity", 1e300]]'
is_json out 'all(l["found"] and l["lsn"] > 0 for l in lines)'
expect 0 put S u 18446744073709551615 '\xf0\x9f\x98\x80'
expect 0 put S u 9223372036854775807 ''
expect 0 get S u --json 18446744073709551615 9223372036854775807
is_json out '[l["key"] for l in lines] == ["18446744073709551615", 2**63 - 1]'
is_json out '[l["value"] for l in lines] == ["\U0001f600", ""]'
expect 3 get S u --json 1 2
is_json err '[(l["level"], l["status"], l["subject"]) for l in lines] == [("error", 3, "S")] * 2'
expect 0 get S u --json --or-default 1
is_json out 'lines[0]["found"] is False and lines[0]["value"] == ""'
expect 0 ls S --json
is_json out '[(l["name"], l["key_dtype"], l["value_dtype"], l["value_shape"]) for l in lines] == [("t", "string", "float64", [2]), ("u", "uint64", "string", [])]'
is_json out '[l["rows"] for l in lines] == [3, 2]'
expect 0 info S --json
is_json out 'lines[0]["tables"] == 2 and lines[0]["rows"] == 5 and lines[0]["applied_lsn"] > 0'

printf '1\ta\n2\tb\\x\n3\tc\n1\td\n' >r.tsv
expect 10 import S u r.tsv --json --rejects=aside.tsv
is_json out '{k: lines[0][k] for k in ("read", "inserted", "replaced", "kept", "equal", "rejected")} == dict(read=4, inserted=2, replaced=0, kept=0, equal=0, rejected=2)'
is_json err 'any("row 2" in l["message"] and l["level"] == "warning" for l in lines)'
expect 7 import S u r.tsv --json
is_json err 'all(l["level"] == "error" and l["status"] == 7 for l in lines)'
is_json out 'lines[0]["read"] == 2 and lines[0]["rows_done"] == 1'
expect 10 import S u --json --max-errors=9 -n r.tsv
is_json out 'lines[0]["dry_run"]'

expect 0 export S u --json -o u.tsv
is_json out 'lines[0]["rows"] == 4 and lines[0]["lsn"] > 0'
expect 0 export S u --json
is_json err 'lines[0]["rows"] == 4'
prints_all u.tsv
expect 0 del S u --json 1 -n
is_json out 'lines[0]["dry_run"] and lines[0]["removed"] == 1'
expect 3 del S u --json 1 1000
is_json out 'lines[0]["removed"] == 1 and lines[0]["absent"] == 1'
expect 0 del S u --json --drop -y
is_json out 'lines[0]["dropped"]'
expect 0 version --json
is_json out 'lines[0]["program"] and lines[0]["library"]'
expect 0 help --json
is_json out 'len(lines[0]["commands"]) >= 11'
expect 0 help import --json
is_json out '"ack-fd" in [o["name"] for o in lines[0]["options"]]'
expect 0 recover S -o R --json
is_json out 'lines[0]["whole"] and lines[0]["tables"] == 1 and lines[0]["rows"] == 3'

# errors of every kind are lines too, whatever stands first
expect 2 get --nothing --json
is_json err 'lines[0]["status"] == 2'
expect 2 nothing --json
is_json err 'lines[0]["status"] == 2'
expect 3 info N --json
is_json err 'lines[0]["status"] == 3'
is_silent
expect 4 del S t --all --json
is_json err 'lines[0]["status"] == 4'
finish
