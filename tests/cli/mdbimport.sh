#!/bin/sh
# Import of what mdb_dump and db_dump write.
# shellcheck source=tests/cli/lib.sh
. "${top_srcdir:?}/tests/cli/lib.sh"

head_of() {
    printf 'VERSION=3\nformat=%s\ndatabase=%s\ntype=btree\n' "$1" "$2"
    shift 2
    test $# = 0 || printf '%s\n' "$@"
    printf 'HEADER=END\n'
}

expect 0 init S words --key=string --value=int64 --default=-1
expect 0 init S ids --key=uint32 --value=bool --default=false

# one section of several, and the first one
{ head_of bytevalue first && printf ' 61\n 0100000000000000\nDATA=END\n'; } >both.dump
{ head_of print second && printf ' b\\\\\n \\02\\00\\00\\00\\00\\00\\00\\00\nDATA=END\n'; } >>both.dump
expect 0 import S words both.dump
says 'only the first section was read; --database=NAME picks another'
last_line_is 'read 1, inserted 1, replaced 0, kept 0, equal 0, rejected 0'
expect 0 import S words both.dump --database=second
says 'mdb_dump before 0.9.25 also wrote them'
test "$(grep -c 0.9.25 err)" = 1 || fail "the warning is not said once"
expect 0 export S words
printf 'a\t1\nb\\\\\t2\n' >rows
prints_all rows
expect 3 import S words both.dump --database=third
says 'no section has the name "third"; there are: "first", "second"'

# byte order, keys of LMDB's own integer type, conflicts
{ head_of bytevalue '' integerkey=1 && printf ' 00000007\n 01\nDATA=END\n'; } >ids.dump
expect 0 import S ids ids.dump --byte-order=big
expect 0 get S ids 7
expect 4 import S words both.dump --byte-order=big
says 'key "a" has another value already: 1, not 72057594037927936; give --max-errors=N'
expect 0 import S words both.dump --byte-order=big --on-conflict=keep
last_line_is 'read 1, inserted 0, replaced 0, kept 1, equal 0, rejected 0'

# rows that do not fit
{ head_of bytevalue x && printf ' 6162\n 01\n 63\n 0300000000000000\nDATA=END\n'; } >odd.dump
expect 7 import S words odd.dump
says 'odd.dump: row 1 (line 6), the value has 1 bytes, 1 of int64 have 8'
expect 10 import S words odd.dump --max-errors=1
last_line_is 'read 2, inserted 1, replaced 0, kept 0, equal 0, rejected 1'

# what is damaged, and what is refused
head -n 7 both.dump >cut.dump
expect 5 import S words cut.dump
says 'line 7: the file ends here without DATA=END'
head -n 6 both.dump >cut.dump
expect 5 import S words cut.dump
says 'line 6: the file ends here without the value of the last key'
{ head_of bytevalue x && printf ' 616\n 01\nDATA=END\n'; } >bad.dump
expect 5 import S words bad.dump
says 'line 6: an odd number of hexadecimal digits: 3'
{ head_of print x && printf ' C:\\new\n x\nDATA=END\n'; } >bad.dump
expect 5 import S words bad.dump
says 'line 6: the backslash in column 4 starts neither \\ nor \xx: written by mdb_dump before 0.9.25, dump again without -p'
{ head_of bytevalue x dupsort=1 && printf 'DATA=END\n'; } >bad.dump
expect 7 import S words bad.dump
says 'line 6: dupsort=1: several values a key'
printf 'VERSION=3\nformat=bytevalue\ntype=recno\nHEADER=END\nDATA=END\n' >bad.dump
expect 7 import S words bad.dump
says 'line 4: type=recno'
feed 7 /dev/null import S words --format=mdb
says 'the input is empty, no dump'

# options that do not go together
expect 2 import S words both.dump --header=yes
expect 2 import S words both.dump --rejects=r
expect 2 import S words rows --format=tsv --database=x
expect 2 import S words rows --format=tsv --byte-order=big
finish
