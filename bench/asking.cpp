/* asking: see asking.hpp. */
#include "asking.hpp"

#include <algorithm>

namespace bench
{

constexpr size_t LEAST_KEYS = 1u << 14, MOST_KEYS = 1u << 21; /* of a run */

const std::vector<std::string> ABSL = { "absl", "absl, huge pages" };

double time_lookups(Session &session, const Shape &shape, const KeyBlock &keys, size_t n, size_t batch,
                    Latencies *latencies)
{
    const KeySpan span = keys.span();
    Answers answers(shape, batch);
    uint64_t sum = 0;

    const uint64_t start = now_ns();
    uint64_t before = start;
    for (size_t i = 0; i < n; i += batch) {
        const size_t count = std::min(batch, n - i);
        session.get(span.sub(i, count), answers.values.data(), answers.found.data());
        sum += check_sum(answers.values.data(), answers.found.data(), count, shape.value_size);
        if (latencies) {
            const uint64_t now = now_ns();
            latencies->add(now - before);
            before = now;
        }
    }
    const uint64_t ns = now_ns() - start;
    if (sum != keys.expected_sum(n))
        fail("wrong values were found");
    return (double)ns / (double)n;
}

/* As many keys as take the time of a run. */
static size_t calibrate(Loaded &engine, const Shape &shape, const KeyBlock &keys, size_t batch, double seconds)
{
    const size_t n = std::min(keys.size(), LEAST_KEYS);
    const double ns = time_lookups(*engine.session, shape, keys, n, batch);
    return std::clamp((size_t)(seconds * 1e9 / ns), n, keys.size()) / batch * batch;
}

Case compare_lookups(const Bench &bench, std::vector<Loaded> &engines, const Shape &shape, size_t batch,
                     const Stream &stream, const Prepare &prepare)
{
    std::vector<size_t> n_keys(engines.size());
    std::vector<Run> sides;
    KeyBlock keys;
    Case c;

    for (size_t i = 0; i < engines.size(); i++)
        sides.push_back([&, i](size_t run) {
            if (i == 0)
                keys.make(shape, stream(bench.setting.seed * 1000 + run, MOST_KEYS));
            if (prepare)
                prepare(engines[i]);
            const Pin pin(1);
            if (run == 0)
                n_keys[i] = std::max(calibrate(engines[i], shape, keys, batch, bench.setting.seconds), batch);
            return time_lookups(*engines[i].session, shape, keys, n_keys[i], batch);
        });
    const auto series = interleave(sides, bench.setting.runs);
    for (size_t i = 0; i < engines.size(); i++)
        c.results.push_back(Result{ engines[i].kind->name, series[i], "" });
    c.unit = "ns/key";
    return c;
}

void ask_ahead(Loaded &engine, const Shape &shape, size_t n, const Stream &stream)
{
    KeyBlock keys;

    keys.make(shape, stream(3, std::min(n, MOST_KEYS)));
    time_lookups(*engine.session, shape, keys, keys.size(), 1024);
}

std::string count_text(uint64_t n)
{
    char text[32];

    if (n >= 1000000)
        snprintf(text, sizeof text, "%.3g M", (double)n / 1e6);
    else if (n >= 65536 && n % 1024 == 0)
        snprintf(text, sizeof text, "%.3g Ki", (double)n / 1024);
    else if (n >= 1000)
        snprintf(text, sizeof text, "%.3g k", (double)n / 1e3);
    else
        snprintf(text, sizeof text, "%llu", (unsigned long long)n);
    return text;
}

} // namespace bench
