// RopeTable against the published formula, growth included.
#include "engine/kernels/rope.h"

#include <gtest/gtest.h>

#include <cmath>

namespace hearth::engine {
namespace {

TEST(RopeTable, AnglesAreThoseOfThePaper) {
    ModelConfig config;
    config.rope_dim = 8;
    config.rope_theta = 10000.0f;
    RopeTable table(config);
    EXPECT_EQ(table.pairs(), 4);
    for (const std::int32_t positions : {3, 4, 5000}) {
        table.grow(positions);
        for (std::int32_t i = 0; i < 4; ++i) {
            const double angle = (positions - 1) * std::pow(10000.0, -2.0 * i / 8.0);
            EXPECT_FLOAT_EQ(table.cos_of(positions - 1)[i], static_cast<float>(std::cos(angle)));
            EXPECT_FLOAT_EQ(table.sin_of(positions - 1)[i], static_cast<float>(std::sin(angle)));
        }
    }
    EXPECT_EQ(table.cos_of(0)[3], 1.0f);
}

TEST(RopeTable, Llama3ScalingKeepsHighAndStretchesLowFrequencies) {
    ModelConfig config;
    config.rope_dim = 128;
    config.rope_theta = 500000.0f;
    config.rope_scaling = {.factor = 8.0f,
                           .low_freq_factor = 1.0f,
                           .high_freq_factor = 4.0f,
                           .original_context = 8192};
    RopeTable scaled(config);
    scaled.grow(2);
    config.rope_scaling.factor = 1.0f;
    RopeTable plain(config);
    plain.grow(2);
    EXPECT_EQ(scaled.sin_of(1)[0], plain.sin_of(1)[0]);
    EXPECT_NEAR(scaled.sin_of(1)[63] * 8.0f, plain.sin_of(1)[63], 1e-9);
    const float middle = scaled.sin_of(1)[32] / plain.sin_of(1)[32];  // Wavelength 4443: blended.
    EXPECT_GT(middle, 0.125f);
    EXPECT_LT(middle, 1.0f);
}

TEST(RopeTable, FrequencyFactorsDivideEachPair) {
    ModelConfig config;
    config.rope_dim = 4;
    config.rope_freq_factors = {1.0f, 8.0f};
    RopeTable table(config);
    table.grow(2);
    EXPECT_FLOAT_EQ(table.sin_of(1)[0], static_cast<float>(std::sin(1.0)));
    EXPECT_FLOAT_EQ(table.sin_of(1)[1], static_cast<float>(std::sin(0.01 / 8.0)));
}

TEST(RopeTable, FrequencyFactorsDivide) {
    ModelConfig config;
    config.rope_dim = 4;
    config.rope_freq_factors = {1.0f, 4.0f};
    RopeTable table(config);
    table.grow(9);
    EXPECT_FLOAT_EQ(table.cos_of(8)[0], static_cast<float>(std::cos(8.0)));
    EXPECT_FLOAT_EQ(table.sin_of(8)[1], static_cast<float>(std::sin(8.0 * 0.01 / 4.0)));
}

}  // namespace
}  // namespace hearth::engine
