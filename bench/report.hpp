/* report: Markdown tables on stdout, lines for bench/plot in a file, and the figures that are wanted. */
#ifndef BENCH_REPORT_HPP
#define BENCH_REPORT_HPP

#include <cstdio>
#include <string>
#include <vector>

#include "measure.hpp"

namespace bench
{

/* What one engine needed. */
struct Result {
    std::string engine;
    Series series; /* lower is better */
    std::string note; /* such as percentiles; may be empty */
};

/* One case of a benchmark, measured on several engines; the first is htstore. */
struct Case {
    std::string name, unit;
    double limit = 0; /* of the machine, in the same unit; 0: none */
    std::vector<Result> results;

    const Result *find(const std::string &engine) const;
    /* How many times the time of htstore a peer needs; of several the one that needs least. 0: not measured. */
    double ratio(const std::vector<std::string> &peers) const;
};

class Report
{
  public:
    explicit Report(const std::string &csv);
    ~Report();
    Report(const Report &) = delete;
    Report &operator=(const Report &) = delete;

    /* A heading with a sentence or more, and the head of a table. */
    void begin(const std::string &benchmark, const std::string &title, const std::string &text);
    void add(const Case &c);
    /* A line outside of tables. */
    void say(const char *format, ...) __attribute__((format(printf, 2, 3)));
    /* A figure of the design, for the table at the end; got 0 was not measured. */
    void figure(const std::string &what, bool at_least, double wanted, double got, const std::string &unit);
    void print_figures() const;

  private:
    void write_csv(const Case &c);

    struct Figure {
        std::string what, unit;
        bool at_least;
        double wanted, got;
    };
    std::vector<Figure> figures;
    std::string benchmark;
    FILE *csv = nullptr;
};

/* The machine, the system, the versions, the flags. */
void print_machine(const std::string &folder);
void print_load(const char *when);

} // namespace bench

#endif
