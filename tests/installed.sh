#!/bin/sh
# The names of one program, on an installed tree: $bindir is where it is, $transform how names were changed. Run by make
# installcheck.
set -eu
: "${bindir:?} ${transform:?}"
work=$(mktemp -d "${TMPDIR:-/tmp}/htstore-installed-XXXXXX")
trap 'rm -rf "$work"' EXIT

name() {
    echo "$bindir/$(echo "$1" | sed "$transform")"
}

htstore=$(name htstore)
dump=$(name htstore-dump)
restore=$(name htstore-restore)
"$dump" --help >"$work/page"
"$htstore" help dump | cmp - "$work/page"
"$restore" --help >"$work/page"
"$htstore" help restore | cmp - "$work/page"
"$dump" --version >/dev/null
status=0
"$dump" 2>"$work/err" || status=$?
test "$status" = 2
grep -q 'htstore help dump' "$work/err"
"$htstore" init "$work/S" t --key=string --value=int64
"$htstore" put "$work/S" t a 1
"$dump" "$work/S" | "$restore" -q - "$work/R"
test "$("$htstore" get "$work/R" t a)" = "$("$htstore" get "$work/S" t a)"
