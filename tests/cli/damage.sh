#!/bin/sh
# Damaged stores: status 5, never a signal; recover writes the rest.
# shellcheck source=tests/cli/lib.sh
. "${0%/*}/lib.sh"
expect 0 init S t --key=string --value=int64 --default=-1
seq 1 20000 >rows.txt
expect 0 import S t rows.txt
expect 0 export S t -o all.tsv
cp -R S whole

# a file that is cut off
size=$(wc -c <S/data.mdb)
for keep in $((size / 2)) $((size / 3)) 5000 4096 100; do
    rm -rf S
    cp -R whole S
    perl -e 'truncate $ARGV[0], $ARGV[1] or die' S/data.mdb "$keep"
    for arguments in 'info S' 'ls S' 'get S t 77' 'put S t 77 1' 'export S t' 'export S t -o out.tsv'; do
        # shellcheck disable=SC2086
        expect 5 $arguments
        says data.mdb
        test ! -e out.tsv || fail 'a partial output is there'
    done
done

# what is no database at all
rm -rf S
cp -R whole S
perl -e 'print "garbage " x 8192' >S/data.mdb
expect 7 info S
expect 7 put S t 77 1
: >S/data.mdb
expect 7 info S
says data.mdb
expect 7 put S t 77 1
rm S/data.mdb
expect 7 info S

# one changed byte in a row is found when the row is read
perl -e '
    open my $file, "+<:raw", "$ARGV[0]" or die;
    local $/;
    my $data = <$file>;
    my $at = index $data, "12345";
    die "the key is not in the file" if $at < 0;
    seek $file, $at, 0;
    print $file "12346";
' whole/data.mdb
rm -rf S
cp -R whole S
status=0
"$HTSTORE" export S t >out 2>err </dev/null || status=$?
want=5
check_status 'export of a changed row'

# recover: the old store is not touched, the new one holds the rest
cp -R S before
expect 10 recover S -o R
diff -r S before || fail 'recover has touched the old store'
test -s err || fail 'recover does not say what is lost'
expect 0 export R t -o rest.tsv
lost=$(LC_ALL=C comm -23 all.tsv rest.tsv | wc -l)
more=$(LC_ALL=C comm -13 all.tsv rest.tsv | wc -l)
if test "$lost" -lt 1 || test "$lost" -gt 400; then
    fail "$lost rows are lost"
fi
test "$more" = 0 || fail "$more rows are there that were not written"
expect 4 recover S -o R
expect 3 recover N -o M
test ! -e M || fail 'recover of nothing has left something'
finish
