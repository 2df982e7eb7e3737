/* retain: knows the rules of keeping. */
#include "retain.h"

#include "htstore.h"
#include "number.h"

#include <string.h>

void retain_plan(const struct retain_rule *rule, const double *times, size_t n, bool *keep)
{
    size_t n_last = rule->keep_last > 0 ? (size_t)rule->keep_last : 1;
    double last_kept = 0;
    bool any = false;

    if (rule->keep_last == 0 && !(rule->keep_every > 0))
        n_last = n;
    for (size_t i = 0; i < n; i++) {
        if (n - i <= n_last) {
            keep[i] = true;
            continue;
        }
        keep[i] = rule->keep_every > 0 && (!any || times[i] - last_kept >= rule->keep_every);
        if (keep[i]) {
            any = true;
            last_kept = times[i];
        }
    }
}

int retain_parse_span(const char *text, double *seconds)
{
    static const struct {
        char letter;
        double seconds;
    } units[] = { { 's', 1 }, { 'm', 60 }, { 'h', 3600 }, { 'd', 86400 }, { 'w', 604800 } };
    size_t size = strlen(text);

    for (size_t i = 0; size > 1 && i < sizeof units / sizeof units[0]; i++) {
        double value;

        if (text[size - 1] != units[i].letter)
            continue;
        if (number_parse(HTSTORE_FLOAT64, text, size - 1, &value) != NUMBER_OK || !(value > 0 && value <= 1e9))
            return -1;
        *seconds = value * units[i].seconds;
        return 0;
    }
    return -1;
}
