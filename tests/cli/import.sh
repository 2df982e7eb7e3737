#!/bin/sh
# Import: formats of lines, conflicts, refused rows, going on, counts.
# shellcheck source=tests/cli/lib.sh
. "${0%/*}/lib.sh"
expect 0 init S t --key=string --value=int64 --default=-1

# ---- vocabulary text
printf 'zero\none\r\ntwo words\n\nfour\n' >v.txt
expect 0 import S t v.txt
last_line_is 'read 5, inserted 5, replaced 0, kept 0, equal 0, rejected 0'
expect 0 export S t
printf '\t3\nfour\t4\none\t1\ntwo words\t2\nzero\t0\n' >want
prints_all want
expect 0 import S t v.txt
last_line_is 'read 5, inserted 0, replaced 0, kept 0, equal 5, rejected 0'

fresh() {
    expect 0 del -y --all S t
}

fresh
printf '3\n# a comment\n\nred\n#blue\n\ngreen' >v.txt
expect 0 import S t v.txt --skip-lines=1 --comment='# ' --skip-blank --line-offset=10
expect 0 export S t
printf '#blue\t11\ngreen\t12\nred\t10\n' >want
prints_all want

fresh
printf 'a\\b;7;x\nc\\t;8;y\n' >v.txt
expect 0 import S t --format=text --delimiter=';' --key-col=0 --value-col=1 v.txt
expect 0 export S t
printf 'a\\\\b\t7\nc\\\\t\t8\n' >want
prints_all want
fresh
expect 0 import S t --format=text --delimiter='\x3b' --key-col=2 --value-col=line v.txt
expect 0 get S t y
printf 'y\t1\n' >want
prints_all want
expect 0 init S lines --key=int64 --value=string
expect 0 import S lines --format=text --key-col=line --value-col=whole v.txt
expect 0 get S lines 1
printf '1\tc\\\\t;8;y\n' >want
prints_all want
expect 0 init S pairs --key=string --value=int32 --shape=2
printf 'k,1,2,3\n' >p.txt
expect 0 import S pairs --delimiter=, --key-col=0 --value-col=2-3 p.txt
expect 0 get S pairs k
printf 'k\t2\t3\n' >want
prints_all want
expect 7 import S pairs p.txt
says '2 elements'
expect 7 import S pairs --delimiter=, --key-col=0 --value-col=2-4 p.txt
expect 2 import S pairs --value-col=3-2 p.txt
expect 2 import S pairs --key-col=0-1 p.txt

# bytes of a line are data, whatever they are
fresh
printf 'a\0b\n\377\n' >v.txt
expect 0 import S t v.txt
expect 0 export S t
printf 'a\\x00b\t0\n\\xff\t1\n' >want
prints_all want

# ---- TSV
fresh
printf 'key\tvalue\na\t1\n' >h.tsv
expect 0 import S t h.tsv --header=yes
expect 7 import S t h.tsv
says 'h.tsv: row 1 (line 1), column 1: "value" is not an int64'
printf 'a\\b\t1\n' >e.tsv
expect 7 import S t e.tsv
says 'backslash'
expect 0 import S t --escape=none e.tsv
expect 0 get S t 'a\\b'
for row in 'b' 'b\t1\t2' 'b\t' 'b\t1 ' '' 'b\t0x1' 'b\t9223372036854775808'; do
    # shellcheck disable=SC2059
    printf "$row\n" >bad.tsv
    expect 7 import S t bad.tsv
done
says 'out of the range of int64'
expect 2 import S t - --format=csv
expect 2 import S t - </dev/null
expect 2 import S t v.csv
expect 3 import S t none.tsv

# ---- conflicts; batches do not change what happens
printf 'a\t1\nb\t2\na\t1\nb\t3\nc\t4\n' >c.tsv
for batch in 1 2 3 8192; do
    fresh
    expect 4 import S t c.tsv --batch=$batch
    says 'row 4 (line 4), key "b" has another value already: 2, not 3'
    says 'go on with --skip-rows=3'
    last_line_is 'read 4, inserted 2, replaced 0, kept 0, equal 1, rejected 1'
    expect 0 export S t
    printf 'a\t1\nb\t2\n' >want
    prints_all want
    fresh
    expect 0 import S t c.tsv --on-conflict=keep --batch=$batch
    last_line_is 'read 5, inserted 3, replaced 0, kept 1, equal 1, rejected 0'
    expect 0 get S t b
    prints "$(printf 'b\t2')"
    fresh
    expect 0 import S t c.tsv --on-conflict=replace --batch=$batch
    last_line_is 'read 5, inserted 3, replaced 1, kept 0, equal 1, rejected 0'
    expect 0 get S t b
    prints "$(printf 'b\t3')"
    fresh
    expect 10 import S t c.tsv --rejects=aside.tsv -f --batch=$batch
    last_line_is 'read 5, inserted 3, replaced 0, kept 0, equal 1, rejected 1'
    printf 'b\t3\n' >want
    cmp want aside.tsv || fail 'the refused row is not set aside'
done

# ---- refused rows
fresh
printf 'a\t1\nb\tx\nc\t3\nd\ne\t5\nf\\q\t6\ng\t7' >r.tsv
expect 7 import S t r.tsv --max-errors=2
says 'row 6 (line 6), column 0'
last_line_is 'read 6, inserted 3, replaced 0, kept 0, equal 0, rejected 3'
expect 0 import S t r.tsv --skip-rows=6
last_line_is 'read 1, inserted 1, replaced 0, kept 0, equal 0, rejected 0'
expect 10 import S t r.tsv --max-errors=3
last_line_is 'read 7, inserted 0, replaced 0, kept 0, equal 4, rejected 3'
expect 4 import S t r.tsv --rejects=aside.tsv
test "$(cat aside.tsv)" = "$(printf 'b\t3')" || fail 'a refused overwrite has changed the file'
expect 10 import S t r.tsv --rejects=new.tsv
printf 'b\tx\nd\nf\\q\t6\n' >want
cmp want new.tsv || fail 'refused rows are not verbatim'
perl -e 'print "$_\tx\n" for 1 .. 30' >many.tsv
expect 10 import S t many.tsv --max-errors=30
test "$(grep -c 'not an int64' err)" = 10 || fail 'not ten reasons are told'
says '20 more rows'

# numbers of rows and lines go on where an import ended
fresh
printf 'x\ny\nz\n' >v.txt
expect 0 import S t v.txt --skip-rows=2
expect 0 get S t z
prints "$(printf 'z\t2')"

# ---- in one step
fresh
expect 0 put S t old 1
printf 'n\t1\nm\t2\nn\t1\n' >n.tsv
expect 0 import S t n.tsv --replace-all
last_line_is 'read 3, inserted 2, replaced 0, kept 0, equal 1, rejected 0'
expect 0 export S t
printf 'm\t2\nn\t1\n' >want
prints_all want
printf 'q\t1\nbad\n' >n2.tsv
expect 7 import S t n2.tsv --replace-all
expect 0 export S t
prints_all want
: >empty.tsv
expect 0 import S t empty.tsv --replace-all
expect 0 export S t
is_silent

# ---- dry run, also beside an owner
printf 'a\t1\na\t2\nb\t2\n' >d.tsv
expect 4 import S t d.tsv -n
expect 0 import S t d.tsv -n --on-conflict=replace --batch=1
last_line_is 'read 3, inserted 2, replaced 1, kept 0, equal 0, rejected 0'
expect 0 export S t
is_silent

# ---- acknowledgements
seq 1 10 | tr '\n' ' ' | sed 's/ /\n/g' >k.txt
status=0
"$HTSTORE" import S t k.txt --batch=4 --ack-fd=7 7>acks 2>err || status=$?
want=0
check_status 'import --ack-fd'
printf '4\n8\n10\n' >want
cmp want acks || fail 'acknowledgements'
for mode in sync interval lazy; do
    fresh
    expect 0 import S t k.txt --durability=$mode
done
expect 2 import S t k.txt --durability=never
expect 2 import S t k.txt --ack-fd=99
finish
