/* engine_std: std::unordered_map, with room for all rows from the start. */
#include "maps.hpp"

#include <unordered_map>

namespace bench
{
namespace
{

template <class Key, class Value> struct StdMap : std::unordered_map<Key, Value> {
    using View = void;
};

std::unique_ptr<Engine> open_std(const EngineOptions &options)
{
    switch (options.shape.kind) {
    case Kind::int_int:
        return std::make_unique<MapEngine<StdMap<int64_t, int64_t>>>(options);
    case Kind::int_floats:
        return std::make_unique<MapEngine<StdMap<int64_t, Floats>>>(options);
    default:
        return std::make_unique<MapEngine<StdMap<std::string, int64_t>>>(options);
    }
}

const Registration registration({ "std::unordered_map", 3, false, false, Order::any, 12000000, "libstdc++", open_std });

} // namespace
} // namespace bench
