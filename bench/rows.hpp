/* rows: the keys and values that all engines get. A row follows from its number, so that what an engine answers can be checked. */
#ifndef BENCH_ROWS_HPP
#define BENCH_ROWS_HPP

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <vector>

#include <htstore.h>

namespace bench
{

enum class Kind { int_int, int_floats, string_int };

/* What a row is: bytes of fixed size, whatever an engine makes of them. */
struct Shape {
    Kind kind;
    const char *name;
    size_t key_size, value_size; /* bytes */
};
const Shape &shape_of(Kind kind);

/* Rows of this number and above are stored by nobody. */
constexpr uint64_t ABSENT = 1ull << 62;

/* A bijection: the finaliser of splitmix64, of Steele, Lea and Flood. Distinct numbers have distinct random keys. */
inline uint64_t mix(uint64_t x)
{
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

class Random
{
  public:
    explicit Random(uint64_t seed) : state(seed)
    {
    }
    uint64_t next()
    {
        return mix(state += 0x9e3779b97f4a7c15u);
    }
    uint64_t below(uint64_t n)
    {
        return (uint64_t)(((unsigned __int128)next() * n) >> 64);
    }
    double unit() /* 0 <= x < 1 */
    {
        return (double)(next() >> 11) * 0x1p-53;
    }

  private:
    uint64_t state;
};

/* Keys, one behind the other in the order in which they are asked for; strings as views too. Borrows from a KeyBlock. */
struct KeySpan {
    const char *bytes;
    const struct htstore_bytes *views; /* strings only, else NULL */
    size_t n, key_size;

    const int64_t *ints() const
    {
        return reinterpret_cast<const int64_t *>(bytes);
    }
    const char *at(size_t i) const
    {
        return bytes + i * key_size;
    }
    std::string_view text(size_t i) const
    {
        return std::string_view(static_cast<const char *>(views[i].data), views[i].size);
    }
    KeySpan sub(size_t from, size_t count) const
    {
        return KeySpan{ bytes + from * key_size, views ? views + from : nullptr, count, key_size };
    }
};

struct RowSpan {
    KeySpan keys;
    const char *values;
    size_t value_size;

    const char *value(size_t i) const
    {
        return values + i * value_size;
    }
    RowSpan sub(size_t from, size_t count) const
    {
        return RowSpan{ keys.sub(from, count), values + from * value_size, value_size };
    }
};

/* Makes and owns keys. */
class KeyBlock
{
  public:
    void make(const Shape &shape, const std::vector<uint64_t> &row_numbers);
    KeySpan span() const;
    size_t size() const
    {
        return numbers.size();
    }
    /* What check_sum() gives for the first `n` keys if rows below ABSENT are found and no others. */
    uint64_t expected_sum(size_t n) const;

  private:
    Shape shape{};
    std::vector<uint64_t> numbers;
    std::vector<char> bytes;
    std::vector<struct htstore_bytes> views;
};

/* Makes and owns rows. */
class RowBlock
{
  public:
    void make(const Shape &shape, const std::vector<uint64_t> &row_numbers);
    RowSpan span() const;

  private:
    KeyBlock keys;
    size_t value_size = 0;
    std::vector<char> values;
};

void make_key(const Shape &shape, uint64_t number, char *key);
void make_value(const Shape &shape, uint64_t number, char *value);

/* The sum over what was answered: first and last eight bytes of each found value, and one for each. */
inline uint64_t check_value(const char *value, size_t value_size)
{
    uint64_t first, last;

    memcpy(&first, value, 8);
    memcpy(&last, value + value_size - 8, 8);
    return first + 3 * last + 1;
}
inline uint64_t check_sum(const char *values, const uint8_t *found, size_t n, size_t value_size)
{
    uint64_t sum = 0;

    for (size_t i = 0; i < n; i++)
        sum += found[i] ? check_value(values + i * value_size, value_size) : 0;
    return sum;
}

/* --- streams of row numbers --- */

/* `n` numbers below `rows`, each as likely; a share of `absent` of them is moved to ABSENT and above. */
std::vector<uint64_t> uniform_numbers(uint64_t seed, size_t n, uint64_t rows, double absent = 0);
std::vector<uint64_t> sequence(uint64_t from, size_t n);

/* Zipf-distributed numbers below `rows`, scattered (Gray et al., SIGMOD 1994, as in YCSB). */
class Zipf
{
  public:
    Zipf(uint64_t rows, double theta);
    uint64_t next(Random &random) const; /* scattered */
    uint64_t rank(Random &random) const; /* 0 is the most popular */

  private:
    uint64_t rows;
    double theta, zeta_n, alpha, eta;
};

} // namespace bench

#endif
