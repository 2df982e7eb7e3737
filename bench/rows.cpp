/* rows: see rows.hpp. */
#include "rows.hpp"

#include <cmath>

namespace bench
{

constexpr uint64_t KEY_SEED = 0x5bd1e9955bd1e995u;
constexpr uint64_t VALUE_SEED = 0xc2b2ae3d27d4eb4fu;

const Shape &shape_of(Kind kind)
{
    static const Shape shapes[] = {
        { Kind::int_int, "int64→int64", 8, 8 },
        { Kind::int_floats, "int64→float[64]", 8, 256 },
        { Kind::string_int, "string20→int64", 20, 8 },
    };
    return shapes[(size_t)kind];
}

void make_key(const Shape &shape, uint64_t number, char *key)
{
    static const char digits[] = "0123456789abcdef";
    const uint64_t word = mix(number ^ KEY_SEED);

    if (shape.kind != Kind::string_int) {
        memcpy(key, &word, 8);
        return;
    }
    const uint64_t more = mix(word);
    for (unsigned i = 0; i < 16; i++)
        key[i] = digits[word >> (4 * i) & 15];
    for (unsigned i = 16; i < 20; i++)
        key[i] = (char)('a' + (more >> (5 * i) & 15));
}

void make_value(const Shape &shape, uint64_t number, char *value)
{
    uint64_t word = mix(number ^ VALUE_SEED);

    if (shape.kind != Kind::int_floats) {
        memcpy(value, &word, 8);
        return;
    }
    for (size_t i = 0; i < shape.value_size / sizeof(float); i++) {
        const float f = (float)(word >> 40) * 0x1p-24f;
        memcpy(value + i * sizeof f, &f, sizeof f);
        word = word * 6364136223846793005u + 1442695040888963407u;
    }
}

void KeyBlock::make(const Shape &new_shape, const std::vector<uint64_t> &row_numbers)
{
    shape = new_shape;
    numbers = row_numbers;
    bytes.resize(numbers.size() * shape.key_size);
    for (size_t i = 0; i < numbers.size(); i++)
        make_key(shape, numbers[i], bytes.data() + i * shape.key_size);
    views.clear();
    if (shape.kind != Kind::string_int)
        return;
    views.resize(numbers.size());
    for (size_t i = 0; i < numbers.size(); i++)
        views[i] = { bytes.data() + i * shape.key_size, shape.key_size };
}

KeySpan KeyBlock::span() const
{
    return KeySpan{ bytes.data(), views.empty() ? nullptr : views.data(), numbers.size(), shape.key_size };
}

uint64_t KeyBlock::expected_sum(size_t n) const
{
    std::vector<char> value(shape.value_size);
    uint64_t sum = 0;

    for (size_t i = 0; i < n; i++) {
        if (numbers[i] >= ABSENT)
            continue;
        make_value(shape, numbers[i], value.data());
        sum += check_value(value.data(), shape.value_size);
    }
    return sum;
}

void RowBlock::make(const Shape &shape, const std::vector<uint64_t> &row_numbers)
{
    keys.make(shape, row_numbers);
    value_size = shape.value_size;
    values.resize(row_numbers.size() * value_size);
    for (size_t i = 0; i < row_numbers.size(); i++)
        make_value(shape, row_numbers[i], values.data() + i * value_size);
}

RowSpan RowBlock::span() const
{
    return RowSpan{ keys.span(), values.data(), value_size };
}

std::vector<uint64_t> uniform_numbers(uint64_t seed, size_t n, uint64_t rows, double absent)
{
    std::vector<uint64_t> numbers(n);
    Random random(seed);

    for (auto &number : numbers) {
        number = random.below(rows);
        if (absent >= 1 || (absent > 0 && random.unit() < absent))
            number += ABSENT;
    }
    return numbers;
}

std::vector<uint64_t> sequence(uint64_t from, size_t n)
{
    std::vector<uint64_t> numbers(n);

    for (size_t i = 0; i < n; i++)
        numbers[i] = from + i;
    return numbers;
}

/* --- Zipf --- */

/* The sum of 1 / i^theta; from a million on by an integral, which is exact to about 1e-8. */
static double zeta(uint64_t n, double theta)
{
    const uint64_t exact = n < 1000000 ? n : 1000000;
    double sum = 0;

    for (uint64_t i = 1; i <= exact; i++)
        sum += std::pow((double)i, -theta);
    if (n > exact)
        sum += (std::pow((double)n + 0.5, 1 - theta) - std::pow((double)exact + 0.5, 1 - theta)) / (1 - theta);
    return sum;
}

Zipf::Zipf(uint64_t n, double skew) : rows(n), theta(skew), zeta_n(zeta(n, skew)), alpha(1 / (1 - skew))
{
    eta = (1 - std::pow(2.0 / (double)rows, 1 - theta)) / (1 - zeta(2, theta) / zeta_n);
}

uint64_t Zipf::rank(Random &random) const
{
    const double u = random.unit(), uz = u * zeta_n;

    if (uz < 1)
        return 0;
    if (uz < 1 + std::pow(0.5, theta))
        return 1;
    const uint64_t r = (uint64_t)((double)rows * std::pow(eta * u - eta + 1, alpha));
    return r < rows ? r : rows - 1;
}

uint64_t Zipf::next(Random &random) const
{
    return mix(rank(random)) % rows;
}

} // namespace bench
