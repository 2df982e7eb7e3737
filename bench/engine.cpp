/* engine: the list of engines, and what they have in common. */
#include "engine.hpp"

#include <algorithm>

namespace bench
{

static std::vector<EngineKind> &kinds()
{
    static std::vector<EngineKind> list;
    return list;
}

Registration::Registration(const EngineKind &kind)
{
    kinds().push_back(kind);
}

const std::vector<EngineKind> &engine_kinds()
{
    std::sort(kinds().begin(), kinds().end(), [](const auto &a, const auto &b) { return a.rank < b.rank; });
    return kinds();
}

uint64_t Session::get_each(const KeySpan &keys)
{
    return each_key(keys, [this](int64_t key) {
        int64_t value = 0;
        uint8_t found;
        get(KeySpan{ reinterpret_cast<const char *>(&key), nullptr, 1, sizeof key }, reinterpret_cast<char *>(&value),
            &found);
        return value;
    });
}

uint64_t Session::get_chain(const KeySpan &keys)
{
    return chain_of_keys(keys, [this](int64_t key) {
        int64_t value = 0;
        uint8_t found;
        get(KeySpan{ reinterpret_cast<const char *>(&key), nullptr, 1, sizeof key }, reinterpret_cast<char *>(&value),
            &found);
        return value;
    });
}

} // namespace bench
