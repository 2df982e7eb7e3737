/* fill: see fill.hpp. */
#include "fill.hpp"
#include "measure.hpp"

#include <algorithm>
#include <cstdio>

namespace bench
{

constexpr size_t FILL_BATCH = 100000;

Loaded::Loaded(const EngineKind &k, const EngineOptions &o) : kind(&k), options(o)
{
    engine = kind->open(options);
    session = engine->session();
}

Loaded::Loaded(const Setting &setting, const EngineKind &k, const EngineOptions &o, const std::string &name)
    : kind(&k), options(o), own_folder(setting.make_folder(name + "-" + k.name))
{
    options.folder = own_folder;
    engine = kind->open(options);
    session = engine->session();
}

Loaded::~Loaded()
{
    close();
    if (!own_folder.empty())
        remove_folder(own_folder);
}

void Loaded::close()
{
    session.reset();
    engine.reset();
}

void Loaded::reopen()
{
    if (!kind->persistent)
        return;
    close();
    engine = kind->open(options);
    session = engine->session();
}

/* Numbers in the order of their keys are those in the order of this. */
static uint64_t sort_key(const Shape &shape, Order order, uint64_t number)
{
    char key[32];
    uint64_t word;

    make_key(shape, number, key);
    if (shape.kind != Kind::string_int) {
        memcpy(&word, key, 8);
        return order == Order::bytes ? __builtin_bswap64(word) : word;
    }
    word = 0;
    for (unsigned i = 0; i < 16; i++) /* 16 characters, a digit each */
        word = word << 4 | (uint64_t)(key[i] <= '9' ? key[i] - '0' : key[i] - 'a' + 10);
    return word;
}

static std::vector<std::pair<uint64_t, uint32_t>> sorted(const Shape &shape, Order order, uint64_t rows)
{
    std::vector<std::pair<uint64_t, uint32_t>> list(rows);

    for (uint64_t i = 0; i < rows; i++)
        list[i] = { sort_key(shape, order, i), (uint32_t)i };
    std::sort(list.begin(), list.end());
    return list;
}

void Loaded::fill(uint64_t rows)
{
    std::vector<std::pair<uint64_t, uint32_t>> order;
    RowBlock block;

    if (kind->order != Order::any)
        order = sorted(options.shape, kind->order, rows);
    for (uint64_t done = 0; done < rows; done += FILL_BATCH) {
        std::vector<uint64_t> numbers = sequence(done, std::min<uint64_t>(FILL_BATCH, rows - done));
        if (!order.empty())
            for (auto &number : numbers)
                number = order[number].second;
        block.make(options.shape, numbers);
        if (order.empty())
            session->put(block.span());
        else
            session->append(block.span());
    }
    engine->finish();
    engine->settle();
}

std::vector<const EngineKind *> pick(const Setting &setting, const std::vector<std::string> &names, uint64_t rows)
{
    std::vector<const EngineKind *> picked;

    for (const auto &kind : engine_kinds()) {
        const bool asked = std::find(names.begin(), names.end(), kind.name) != names.end();
        const bool small = kind.max_rows == 0 || rows <= kind.max_rows;
        if (kind.rank == 0 || (asked && small && setting.wants_engine(kind.name)))
            picked.push_back(&kind);
    }
    return picked;
}

std::vector<Loaded> load_all(const Setting &setting, const std::vector<const EngineKind *> &kinds,
                             const EngineOptions &options, const std::string &name)
{
    std::vector<Loaded> all;

    for (const auto *kind : kinds) {
        const uint64_t start = now_ns();
        all.emplace_back(setting, *kind, options, name);
        all.back().fill(options.rows);
        if (kind->rank == 0 && !setting.fresh)
            all.back().reopen();
        all.back().engine->warm();
        fprintf(stderr, "%s: %s loaded with %.3g rows in %.1f s\n", name.c_str(), kind->name.c_str(),
                (double)options.rows, (double)(now_ns() - start) / 1e9);
    }
    return all;
}

} // namespace bench
