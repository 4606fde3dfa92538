// quantize_rows: scales, ties to even, and the bound on its error, against plain double arithmetic.
#include "engine/model/weights.h"

#include <gtest/gtest.h>

#include <cfenv>
#include <cmath>
#include <limits>
#include <vector>

#include "common/base/rng.h"

namespace hearth::engine {
namespace {

TEST(Weights, TiesGoToTheEvenNeighbour) {
    // With absmax 127 the scale is exactly 1, so the values are the quotients.
    const std::vector<float> row = {127.0f, 0.5f, 1.5f, 2.5f, -0.5f, -1.5f, -2.5f, 125.5f, -126.5f};
    const QuantMatrix m = quantize_rows(row.data(), 1, static_cast<std::int32_t>(row.size()));
    EXPECT_EQ(m.scale, std::vector<float>{1.0f});
    EXPECT_EQ(m.q, (std::vector<std::int8_t>{127, 0, 2, 2, 0, -2, -2, 126, -126}));
}

TEST(Weights, EachRowHasItsOwnScale) {
    const std::vector<float> rows = {1.0f, -2.0f, 0.5f, 0.0f, 0.0f, 0.0f, 1e-20f, -1e-20f, 0.0f};
    const QuantMatrix m = quantize_rows(rows.data(), 3, 3);
    EXPECT_EQ(m.rows, 3);
    EXPECT_EQ(m.cols, 3);
    EXPECT_EQ(m.scale, (std::vector<float>{2.0f / 127.0f, 0.0f, 1e-20f / 127.0f}));
    EXPECT_EQ(m.q, (std::vector<std::int8_t>{64, -127, 32, 0, 0, 0, 127, -127, 0}));
}

TEST(Weights, ExtremesStayInRange) {
    const float max = std::numeric_limits<float>::max();
    const float tiny = std::numeric_limits<float>::denorm_min();
    const std::vector<float> rows = {max, -max, tiny, tiny, -tiny, 0.0f, 1e-43f, -1e-43f, 0.0f};
    const QuantMatrix m = quantize_rows(rows.data(), 3, 3);
    EXPECT_EQ(m.q[0], 127);
    EXPECT_EQ(m.q[1], -127);
    EXPECT_EQ(m.q[2], 0);
    EXPECT_EQ(m.scale[1], 0.0f) << "too small for a scale: the row becomes zero";
    EXPECT_EQ(m.q[3], 0);
    EXPECT_EQ(m.q[6], -m.q[7]) << "subnormal scale: coarse, but symmetric and in range";
}

TEST(Weights, RandomRowsMatchDoubleArithmetic) {
    const std::uint64_t seed = 20260101;
    RecordProperty("seed", std::to_string(seed));
    Rng rng(seed);
    const std::int32_t rows = 40;
    const std::int32_t cols = 333;
    std::vector<float> values(static_cast<std::size_t>(rows) * cols);
    for (float& v : values) v = static_cast<float>(rng.uniform() * 2 - 1);
    const QuantMatrix m = quantize_rows(values.data(), rows, cols);
    ASSERT_EQ(std::fegetround(), FE_TONEAREST);
    for (std::size_t i = 0; i < values.size(); ++i) {
        const float scale = m.scale[i / cols];
        // The quotient is rounded to float first; in double it would break some ties.
        EXPECT_EQ(m.q[i], static_cast<int>(std::nearbyint(values[i] / scale))) << i;
        EXPECT_NEAR(m.q[i] * scale, values[i], 0.5 * scale * (1 + 1e-5)) << i;
    }
}

}  // namespace
}  // namespace hearth::engine
