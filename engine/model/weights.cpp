// Symmetric int8 quantisation of matrix rows: one scale per output channel, round to nearest even.
#include "engine/model/weights.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>

#include "common/base/check.h"

namespace hearth::engine {

namespace {

// Adding 1.5 * 2^23 puts the integer nearest to x (ties to even, the default rounding mode) into
// the low bits of the sum, for |x| < 2^22. Unlike a call of nearbyint it vectorises on any CPU.
constexpr float kRounder = 12'582'912.0f;

std::int8_t round_to_int8(float x) {
    const float clamped = std::min(127.0f, std::max(-127.0f, x));
    return static_cast<std::int8_t>(std::bit_cast<std::int32_t>(clamped + kRounder) -
                                    std::bit_cast<std::int32_t>(kRounder));
}

}  // namespace

float quantize_row(const float* values, std::int32_t cols, std::int8_t* q) {
    float absmax = 0.0f;
    for (std::int32_t c = 0; c < cols; ++c) absmax = std::max(absmax, std::fabs(values[c]));
    const float scale = absmax / 127.0f;
    if (scale == 0.0f) {  // All zero, or too small for a float scale to hold.
        std::fill(q, q + cols, std::int8_t{0});
        return 0.0f;
    }
    // A true division, not a product with 127 / absmax, which overflows for tiny rows.
    for (std::int32_t c = 0; c < cols; ++c) q[c] = round_to_int8(values[c] / scale);
    return scale;
}

QuantMatrix quantize_rows(const float* values, std::int32_t rows, std::int32_t cols) {
    CHECK(rows >= 0 && cols >= 0);
    QuantMatrix out;
    out.rows = rows;
    out.cols = cols;
    out.q.resize(static_cast<std::size_t>(rows) * static_cast<std::size_t>(cols));
    out.scale.resize(static_cast<std::size_t>(rows));
    for (std::int32_t r = 0; r < rows; ++r) {
        const std::size_t at = static_cast<std::size_t>(r) * static_cast<std::size_t>(cols);
        out.scale[static_cast<std::size_t>(r)] = quantize_row(values + at, cols, out.q.data() + at);
    }
    return out;
}

}  // namespace hearth::engine
