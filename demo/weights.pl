#!/usr/bin/perl
# Rows of Unicode collation weights: the text of each entry of allkeys.txt, then the three weights of its first collation
# element, as TSV. Format of the file: UTS #10, section 9.1. With --sorted: in ascending order of keys, as bytes.
use strict;
use warnings;

my $sorted = @ARGV && $ARGV[0] eq '--sorted' ? shift : undef;
my %names = ("\\" => "\\\\", "\t" => "\\t", "\n" => "\\n", "\r" => "\\r");
my @rows;

# UTF-8 by hand: the code points are numbers of ours, and the output is bytes
sub utf8_bytes {
    my ($c) = @_;
    return chr $c if $c < 0x80;
    return pack 'C2', 0xc0 | $c >> 6, 0x80 | $c & 63 if $c < 0x800;
    return pack 'C3', 0xe0 | $c >> 12, 0x80 | $c >> 6 & 63, 0x80 | $c & 63 if $c < 0x10000;
    return pack 'C4', 0xf0 | $c >> 18, 0x80 | $c >> 12 & 63, 0x80 | $c >> 6 & 63, 0x80 | $c & 63;
}

while (my $line = <>) {
    next if $line !~ /^([0-9A-F ]+?)\s*;\s*\[[.*]([0-9A-F]+)\.([0-9A-F]+)\.([0-9A-F]+)\]/;
    my ($points, @weights) = ($1, hex $2, hex $3, hex $4);
    push @rows, [ join('', map { utf8_bytes(hex) } split / /, $points), @weights ];
}
@rows = sort { $a->[0] cmp $b->[0] } @rows if $sorted;
binmode STDOUT;
for my $row (@rows) {
    my ($key, @weights) = @$row;
    $key =~ s/([\\\t\n\r])|([\x00-\x1f\x7f])/defined $1 ? $names{$1} : sprintf '\\x%02x', ord $2/ge;
    print join("\t", $key, @weights), "\n";
}
close STDOUT or die "weights.pl: $!\n";
