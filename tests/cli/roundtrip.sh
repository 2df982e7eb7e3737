#!/bin/sh
# Rows of every dtype come back from export exactly as they went in.
# shellcheck source=tests/cli/lib.sh
. "${0%/*}/lib.sh"

# round_trip NAME OPTION...: the rows of ./NAME.tsv, in order of keys, as export prints them
round_trip() {
    name=$1
    shift
    expect 0 init S "$name" "$@"
    expect 0 import S "$name" "$name.tsv"
    expect 0 export S "$name"
    prints_all "$name.tsv"
    expect 0 export S "$name" -o "$name.again"
    cmp "$name.tsv" "$name.again" || fail "$name: a file and stdout differ"
    cut -f 1 "$name.tsv" >keys
    expect 0 get S "$name" --keys-from=keys
    prints_all "$name.tsv"
}

# all single bytes, some pairs and text; perl escapes on its own
perl -e '
    my @keys = ("", map { chr } 0 .. 255);
    push @keys, "a\tb", "a\nb", "a\rb", "\r\n", "a\\b", "\\t", "\0\0", "\xff\xff", "caf\xc3\xa9", "\xe2\x82\xac",
        "\xf0\x9f\x98\x80", "\xed\xa0\x80", "\xc0\x80", "\xe2\x82", "x" x 511, "x" x 512, "y" x 3000, " lead", "trail ";
    my %names = ("\\" => "\\\\", "\t" => "\\t", "\n" => "\\n", "\r" => "\\r");
    sub escape {
        my ($bytes) = @_;
        my $valid = qr/[\xc2-\xdf][\x80-\xbf] | \xe0[\xa0-\xbf][\x80-\xbf] | [\xe1-\xec\xee\xef][\x80-\xbf]{2}
            | \xed[\x80-\x9f][\x80-\xbf] | \xf0[\x90-\xbf][\x80-\xbf]{2} | [\xf1-\xf3][\x80-\xbf]{3}
            | \xf4[\x80-\x8f][\x80-\xbf]{2}/x;
        $bytes =~ s{($valid)|([\\\t\n\r])|([\x00-\x1f\x7f-\xff])}
            { defined $1 ? $1 : defined $2 ? $names{$2} : sprintf "\\x%02x", ord $3 }ge;
        return $bytes;
    }
    binmode STDOUT;
    print escape($_), "\t", escape(reverse $_), "\n" for sort @keys;
' >strings.tsv
round_trip strings --key=string --value=string

# tab NAME: lines of blank-separated fields become tab-separated
tab() {
    tr ' ' '\t' >"$1.tsv"
}

tab int8 <<ROWS
-128 127
-1 0
0 -128
127 -1
ROWS
round_trip int8 --key=int8 --value=int8
tab int16 <<ROWS
-32768 32767
0 -32768
32767 0
ROWS
round_trip int16 --key=int16 --value=int16
tab int32 <<ROWS
-2147483648 2147483647
0 -2147483648
2147483647 0
ROWS
round_trip int32 --key=int32 --value=int32
tab int64 <<ROWS
-9223372036854775808 9223372036854775807
-1 0
0 -9223372036854775808
9223372036854775807 1
ROWS
round_trip int64 --key=int64 --value=int64
tab uint8 <<ROWS
0 255
255 0
ROWS
round_trip uint8 --key=uint8 --value=uint8
tab uint16 <<ROWS
0 65535
65535 0
ROWS
round_trip uint16 --key=uint16 --value=uint16
tab uint32 <<ROWS
0 4294967295
4294967295 0
ROWS
round_trip uint32 --key=uint32 --value=uint32
tab uint64 <<ROWS
0 18446744073709551615
9223372036854775808 1
18446744073709551615 0
ROWS
round_trip uint64 --key=uint64 --value=uint64
tab bool <<ROWS
false true
true false
ROWS
round_trip bool --key=bool --value=bool
tab float32 <<ROWS
-inf nan
-3.4028235e+38 -0
-1.4013e-45 1.4013e-45
0 inf
1.4013e-45 1.1754942e-38
0.1 -inf
3.4028235e+38 16777216
inf 0.3
ROWS
round_trip float32 --key=float32 --value=float32
tab float64 <<ROWS
-inf nan
-1.7976931348623157e+308 -0
0 4.94065645841247e-324
4.94065645841247e-324 2.2250738585072e-308
0.1 -inf
0.30000000000000004 1.7976931348623157e+308
inf inf
ROWS
round_trip float64 --key=float64 --value=float64
tab float16 <<ROWS
0 6.55e+04
1 -0
2 5.96e-08
3 nan
4 -inf
5 0.333
ROWS
round_trip float16 --key=uint8 --value=float16
tab bfloat16 <<ROWS
0 3.39e+38
1 -0
2 9.2e-41
3 nan
4 inf
5 0.334
ROWS
round_trip bfloat16 --key=uint8 --value=bfloat16
tab matrix <<ROWS
-1 1 2 3 4 5 6
7 -1 -2 -3 -4 -5 -6
ROWS
round_trip matrix --key=int32 --value=int32 --shape=2,3
printf 'a\t\t\\t\nb\tx\\\\y\t\\x00\n' >texts.tsv
round_trip texts --key=string --value=string --shape=2
printf 'a\nb\n' >sets.tsv
round_trip sets --key=string --value=float32 --shape=0
: >empty.tsv
round_trip empty --key=string --value=int64

# other spellings mean the same rows
printf 'x41\t+\n' >odd.tsv
printf '\\x41\\x0A\t1E2\n' >spelling.tsv
expect 0 init S spelling --key=string --value=float64
expect 0 import S spelling spelling.tsv
expect 0 export S spelling
printf 'A\\n\t100\n' >want
prints_all want
expect 7 import S spelling odd.tsv
expect 0 init S zero --key=float64 --value=int8
printf -- '-0\t1\n' >zero.tsv
expect 0 import S zero zero.tsv
expect 0 get S zero 0
printf '0\t1\n' >want
prints_all want

# a value of 3 MiB, and a last line without its end
perl -e 'print "long\t", "0123456789abcdef" x 196608' >long.tsv
expect 0 init S long --key=string --value=string
expect 0 import S long long.tsv
expect 0 export S long
echo >>long.tsv
prints_all long.tsv
finish
