#!/bin/sh
# Help: on stdout with status 0, complete, and for every command.
# shellcheck source=tests/cli/lib.sh
. "${0%/*}/lib.sh"

commands=$("$HTSTORE" help | sed -n 's/^    \([a-z]*\)  *[a-z].*/\1/p')
for command in init info ls get put del import export recover help version link dump restore checkpoint check; do
    echo "$commands" | grep -qx "$command" || fail "help does not list $command"
done

# all options of all commands, so that each command can be asked about each
for command in $commands; do
    "$HTSTORE" help "$command" | sed -n 's/^    \(-[a-zA-Z], \)\{0,1\}--\([a-z-]*\).*/\2/p'
done | LC_ALL=C sort -u >options
test "$(wc -l <options)" -gt 30 || fail 'too few options'

for command in $commands; do
    expect 0 help "$command"
    test ! -s err || fail "help $command writes to stderr"
    for heading in NAME SYNOPSIS OPTIONS 'EXIT STATUS' EXAMPLE; do
        prints "$heading"
    done
    cp out page
    expect 0 "$command" --help
    test "$command" = help || prints_all page
    expect 0 "$command" --version
    # an option is accepted exactly if the page names it
    while read -r option; do
        status=0
        "$HTSTORE" "$command" "--$option=" >out 2>err </dev/null || status=$?
        if grep -q -e "--$option\$" -e "--$option=" page; then
            ! grep -q 'unknown option' err || fail "$command refuses --$option, which its page names"
        elif ! grep -q -e "^    .*--$option" page; then # which would be short for one that it has
            grep -q "unknown option --$option" err || fail "$command takes --$option, which its page does not name"
            test "$status" = 2 || fail "$command --$option: status $status"
        fi
    done <options
    # and so is a letter
    for letter in a b c d e f g i j k l m n o p q r s t u v w x y z; do
        "$HTSTORE" "$command" "-$letter" >out 2>err </dev/null
        if grep -q "^    -$letter, " page; then
            ! grep -q 'unknown option' err || fail "$command refuses -$letter, which its page names"
        else
            grep -q "unknown option -$letter" err || fail "$command takes -$letter, which its page does not name"
        fi
    done
    # the page fits a screen
    test "$("$HTSTORE" help "$command" | awk '{ if (length($0) > n) n = length($0) } END { print n }')" -le 110 ||
        fail "help $command has long lines"
done

expect 0 --help
prints 'COMMANDS'
expect 0 -h
expect 0 --version
grep -q '^htstore [0-9]' out || fail 'no version'
expect 0 -V
expect 0 version
grep -q 'format' out || fail 'no versions of formats'
expect 2 --json info S
says 'options stand behind the command'
expect 2 help nothing
is_silent
test ! -e S || fail 'help has created something'
finish
