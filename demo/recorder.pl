#!/usr/bin/perl
# Record acknowledgements: recorder.pl FILE N TELL <LINES. Appends each line of standard input to FILE, and writes one line
# to TELL, a FIFO, as soon as a number of at least N was recorded, or the input has ended before. Goes on to the end: what was
# acknowledged until the last moment counts.
use strict;
use warnings;

my ($path, $enough, $tell) = @ARGV;
my $told;

sub tell_parent {
    my ($what) = @_;
    return if $told++;
    open my $fifo, '>', $tell or die "$tell: $!\n";
    print $fifo "$what\n";
    close $fifo or die "$tell: $!\n";
}

open my $record, '>>', $path or die "$path: $!\n";
while (my $line = <STDIN>) {
    defined syswrite $record, $line or die "$path: $!\n";
    tell_parent('enough') if $line >= $enough;
}
tell_parent('ended');
