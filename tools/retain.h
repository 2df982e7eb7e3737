/* retain: which of several checkpoints a rule keeps. No files, no clock. */
#ifndef TOOLS_RETAIN_H
#define TOOLS_RETAIN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct retain_rule {
    uint64_t keep_last; /* so many of the newest; 0: not given */
    double keep_every; /* seconds; 0: not given */
};

/*
 * Of n checkpoints, oldest first, with their times in seconds: keep[i] = whether the rule keeps it. The newest is always
 * kept. Of those beyond keep_last, keep_every keeps the oldest, and then each that is so much younger than the last kept.
 * What is kept once is kept when the rule is applied to the rest again. Without a rule all are kept.
 */
void retain_plan(const struct retain_rule *rule, const double *times, size_t n, bool *keep);

/* A span of time such as "90m", "6h", "1.5d" or "2w" in seconds. Returns 0, or -1 if it is none or not above 0. */
int retain_parse_span(const char *text, double *seconds);

#endif
