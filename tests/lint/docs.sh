#!/bin/sh
# Every exported function has a doc comment directly above it, that says all a caller needs.
set -eu
: "${top_srcdir:?run by make check}"

"$AWK" '
function fail(text) {
    print "htstore.h:" start ": " name ": " text
    failed = 1
}

# Does the doc comment hold this tag, followed by text? The tags stand at the start of a line.
function has(tag) {
    return comment ~ ("\n \\* " tag "[^\n]*\n")
}

function check_parameters(list,    n, parts, i, parameter) {
    gsub(/[ \t\n]+/, " ", list)
    if (list == "void")
        return
    n = split(list, parts, ",")
    for (i = 1; i <= n; i++) {
        parameter = parts[i]
        sub(/ *$/, "", parameter)
        sub(/.*[ *]/, "", parameter)
        if (comment !~ ("\n \\* @param " parameter " +\\[(in|out|in,out)\\] +[^ \n]"))
            fail("@param " parameter " [in], [out] or [in,out] and its meaning are missing")
    }
}

function check_tags(    n) {
    # as many @param as parameters, so that no stale one stays
    n = gsub(/\n \* @param /, "&", comment)
    if (n != n_parameters)
        fail(n " @param, but " n_parameters " parameters")
}

function check_function(declaration,    head, list) {
    head = declaration
    sub(/\(.*/, "", head)
    name = head
    sub(/.*[ *]/, "", name)
    list = declaration
    sub(/^[^(]*\(/, "", list)
    sub(/\);.*/, "", list)
    n_functions++

    if (comment == "") {
        fail("no doc comment directly above")
        return
    }
    if (comment !~ /^\/\*\*\n \* [A-Z][^\n@]*/ || comment !~ /\.(\n| )/)
        fail("the comment does not start with a sentence")
    n_parameters = list == "void" ? 0 : gsub(/,/, ",", list) + 1
    check_parameters(list)
    check_tags()
    if (head !~ /HTSTORE_API void [a-z]/ && !has("@return [^ ]"))
        fail("@return is missing")
    if (comment !~ /\n \* @par Threads\n \* [A-Z]/)
        fail("@par Threads is missing")
    if (comment !~ /\n \* @since [0-9]/)
        fail("@since is missing")
    if (comment !~ /\n \* @par Errors\n \* [A-Z]/ && comment !~ /@return.*(HTSTORE_E[A-Z]+|as htstore_)/)
        fail("error codes are neither in @return nor in @par Errors")
}

{
    sub(/\r$/, "")
}

declaration != "" {
    declaration = declaration " " $0
}

/^HTSTORE_API / {
    declaration = $0
    start = FNR
}

declaration != "" {
    if (declaration ~ /;/) {
        check_function(declaration)
        declaration = comment = ""
    }
    next
}

/^\/\*\*/ {
    comment = ""
    in_comment = 1
}

in_comment {
    comment = comment $0 "\n"
    if ($0 ~ /\*\//)
        in_comment = 0
    next
}

{
    comment = ""
}

END {
    if (n_functions == 0) {
        print "no exported function found"
        failed = 1
    }
    exit failed
}' "$top_srcdir/lib/htstore.h"
