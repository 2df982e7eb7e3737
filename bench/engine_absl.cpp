/* engine_absl: absl::flat_hash_map, with room for all rows from the start, on common and on huge pages. */
#include "maps.hpp"

#include <absl/container/flat_hash_map.h>
#include <absl/hash/hash.h>
#include <absl/strings/string_view.h>

namespace bench
{
namespace
{

template <class Key, class Value> struct Plain : absl::flat_hash_map<Key, Value> {
    using View = absl::string_view;
};

template <class Value>
using HugeNumbers = absl::flat_hash_map<int64_t, Value, absl::Hash<int64_t>, std::equal_to<int64_t>,
                                        HugeAllocator<std::pair<const int64_t, Value>>>;
template <class Value> struct Huge : HugeNumbers<Value> {
    using View = absl::string_view;
};

using Text = std::basic_string<char, std::char_traits<char>, TextAllocator<char>>;

struct TextHash {
    using is_transparent = void;
    size_t operator()(absl::string_view text) const
    {
        return absl::Hash<absl::string_view>()(text);
    }
    size_t operator()(const Text &text) const
    {
        return (*this)(absl::string_view(text.data(), text.size()));
    }
};
struct TextEqual {
    using is_transparent = void;
    template <class A, class B> bool operator()(const A &a, const B &b) const
    {
        return absl::string_view(a.data(), a.size()) == absl::string_view(b.data(), b.size());
    }
};
struct HugeText
    : absl::flat_hash_map<Text, int64_t, TextHash, TextEqual, HugeAllocator<std::pair<const Text, int64_t>>> {
    using View = absl::string_view;
};

std::unique_ptr<Engine> open_plain(const EngineOptions &options)
{
    switch (options.shape.kind) {
    case Kind::int_int:
        return std::make_unique<MapEngine<Plain<int64_t, int64_t>>>(options);
    case Kind::int_floats:
        return std::make_unique<MapEngine<Plain<int64_t, Floats>>>(options);
    default:
        return std::make_unique<MapEngine<Plain<std::string, int64_t>>>(options);
    }
}

std::unique_ptr<Engine> open_huge(const EngineOptions &options)
{
    switch (options.shape.kind) {
    case Kind::int_int:
        return std::make_unique<MapEngine<Huge<int64_t>>>(options);
    case Kind::int_floats:
        return std::make_unique<MapEngine<Huge<Floats>>>(options);
    default:
        return std::make_unique<MapEngine<HugeText>>(options);
    }
}

const std::string ABSL = "absl " + std::to_string(ABSL_LTS_RELEASE_VERSION);
const Registration plain({ "absl", 1, false, false, Order::any, 0, ABSL, open_plain });
const Registration huge({ "absl, huge pages", 2, false, false, Order::any, 0, ABSL + ", madvise", open_huge });

} // namespace
} // namespace bench
