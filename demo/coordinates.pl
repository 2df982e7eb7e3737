#!/usr/bin/perl
# Rows of time zones: the name, then latitude and longitude in degrees as float32, as TSV. The coordinates of zone1970.tab
# are those of ISO 6709: +DDMM+DDDMM or +DDMMSS+DDDMMSS. With --sorted: in ascending order of names.
use strict;
use warnings;

my $sorted = @ARGV && $ARGV[0] eq '--sorted' ? shift : undef;
my @rows;

# The fewest digits that are the same float32
sub float32 {
    my $bits = pack 'f', $_[0];
    for my $digits (6 .. 9) {
        my $text = sprintf "%.${digits}g", unpack 'f', $bits;
        return $text if pack('f', $text) eq $bits;
    }
}

sub degrees {
    my ($sign, $degrees, $minutes, $seconds) = @_;
    my $value = $degrees + $minutes / 60 + ($seconds || 0) / 3600;
    return float32($sign eq '-' ? -$value : $value);
}

while (my $line = <>) {
    next if $line =~ /^#/;
    my (undef, $where, $name) = split /[\t\n]/, $line;
    $where =~ /^([-+])(\d\d)(\d\d)(\d\d)?([-+])(\d\d\d)(\d\d)(\d\d)?$/ or die "line $.: $where is no position\n";
    push @rows, [ $name, degrees($1, $2, $3, $4), degrees($5, $6, $7, $8) ];
}
@rows = sort { $a->[0] cmp $b->[0] } @rows if $sorted;
print map { join("\t", @$_) . "\n" } @rows;
close STDOUT or die "coordinates.pl: $!\n";
