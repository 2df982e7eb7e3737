/* report: see report.hpp. */
#include "report.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdarg>
#include <cstring>

namespace bench
{

constexpr double NOISY = 0.1;

const Result *Case::find(const std::string &engine) const
{
    for (const auto &result : results)
        if (result.engine == engine)
            return &result;
    return nullptr;
}

double Case::ratio(const std::vector<std::string> &peers) const
{
    double best = 0;

    for (const auto &name : peers) {
        const Result *peer = find(name);
        if (peer && (best == 0 || peer->series.median() < best))
            best = peer->series.median();
    }
    return results.empty() || results[0].series.median() <= 0 ? 0 : best / results[0].series.median();
}

Report::Report(const std::string &path)
{
    if (path.empty())
        return;
    csv = fopen(path.c_str(), "w");
    if (!csv)
        fail("%s: %s", path.c_str(), strerror(errno));
    fputs("benchmark,case,unit,engine,median,min,max,runs,limit\n", csv);
}

Report::~Report()
{
    if (csv)
        fclose(csv);
}

void Report::begin(const std::string &name, const std::string &title, const std::string &text)
{
    benchmark = name;
    printf("\n## %s\n\n%s\n\n", title.c_str(), text.c_str());
    printf("| case | unit | htstore: median (min) | limit | η | peer | its median (min) | ratio | spread, ours, peer | "
           "notes |\n"
           "|---|---|---|---|---|---|---|---|---|---|\n");
    fflush(stdout);
}

/* Three digits that count. */
static std::string digits(double value)
{
    char text[32];

    snprintf(text, sizeof text, value >= 100 ? "%.0f" : value >= 10 ? "%.1f" : "%.2f", value);
    return text;
}

static std::string spread_text(const Series &series)
{
    char text[32];

    snprintf(text, sizeof text, "%.0f %%%s", 100 * series.spread(), series.spread() > NOISY ? " noisy" : "");
    return text;
}

static std::string times_text(const Series &series)
{
    return series.empty() ? "–" : digits(series.median()) + " (" + digits(series.min()) + ")";
}

void Report::add(const Case &c)
{
    if (c.results.empty())
        return;
    const Series &ours = c.results[0].series;
    const std::string limit = c.limit > 0 ? digits(c.limit) : "–";
    const std::string eta = c.limit > 0 && ours.median() > 0 ? digits(c.limit / ours.median()) : "–";

    for (size_t i = c.results.size() == 1 ? 0 : 1; i < c.results.size(); i++) {
        const Result &peer = c.results[i];
        const bool alone = i == 0;
        const std::string ratio =
            alone || ours.median() <= 0 ? "–" : "**" + digits(peer.series.median() / ours.median()) + "**";
        const std::string note = alone ? peer.note : c.results[0].note + (peer.note.empty() ? "" : "; " + peer.note);
        printf("| %s | %s | %s | %s | %s | %s | %s | %s | %s | %s |\n", c.name.c_str(), c.unit.c_str(),
               times_text(ours).c_str(), limit.c_str(), eta.c_str(), alone ? "–" : peer.engine.c_str(),
               alone ? "–" : times_text(peer.series).c_str(), ratio.c_str(),
               (spread_text(ours) + (alone ? "" : ", " + spread_text(peer.series))).c_str(), note.c_str());
    }
    fflush(stdout);
    write_csv(c);
}

void Report::write_csv(const Case &c)
{
    if (!csv)
        return;
    for (const auto &result : c.results)
        fprintf(csv, "%s,\"%s\",%s,\"%s\",%.6g,%.6g,%.6g,%zu,%.6g\n", benchmark.c_str(), c.name.c_str(), c.unit.c_str(),
                result.engine.c_str(), result.series.median(), result.series.min(), result.series.max(),
                result.series.size(), c.limit);
    fflush(csv);
}

void Report::say(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    vprintf(format, args);
    va_end(args);
    fflush(stdout);
}

void Report::figure(const std::string &what, bool at_least, double wanted, double got, const std::string &unit)
{
    if (got > 0)
        figures.push_back(Figure{ what, unit, at_least, wanted, got });
}

void Report::print_figures() const
{
    if (figures.empty())
        return;
    printf("\n## Figures wanted\n\n| what | wanted | measured | reached |\n|---|---|---|---|\n");
    for (const auto &f : figures) {
        const bool reached = f.at_least ? f.got >= f.wanted : f.got <= f.wanted;
        printf("| %s | %s %s %s | %s | %s |\n", f.what.c_str(), f.at_least ? "≥" : "≤", digits(f.wanted).c_str(),
               f.unit.c_str(), digits(f.got).c_str(), reached ? "yes" : "**no**");
    }
    fflush(stdout);
}

} // namespace bench
