// RopeTable: the angles of every pair and position, in double before they are rounded to float.
#include "engine/kernels/rope.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace hearth::engine {
namespace {

// Llama 3.1: wavelengths beyond the original context are stretched by `factor`, short ones kept,
// and those between are blended.
double rescale(double frequency, const RopeScaling& scaling) {
    if (scaling.factor == 1.0f) return frequency;
    const double wavelength = 2.0 * std::numbers::pi / frequency;
    const double low = scaling.original_context / static_cast<double>(scaling.low_freq_factor);
    const double high = scaling.original_context / static_cast<double>(scaling.high_freq_factor);
    if (wavelength < high) return frequency;
    if (wavelength > low) return frequency / scaling.factor;
    const double keep = (scaling.original_context / wavelength - scaling.low_freq_factor) /
                        (scaling.high_freq_factor - scaling.low_freq_factor);
    return (1.0 - keep) * frequency / scaling.factor + keep * frequency;
}

}  // namespace

RopeTable::RopeTable(const ModelConfig& config) : style_(config.rope_style) {
    const std::int32_t pairs = config.rope_dim / 2;
    for (std::int32_t i = 0; i < pairs; ++i) {
        const double exponent = -2.0 * i / config.rope_dim;
        const double frequency = std::pow(static_cast<double>(config.rope_theta), exponent);
        frequency_.push_back(rescale(frequency, config.rope_scaling));
        if (!config.rope_freq_factors.empty())
            frequency_.back() /= config.rope_freq_factors[static_cast<std::size_t>(i)];
    }
}

void RopeTable::grow(std::int32_t positions) {
    if (positions <= positions_) return;
    positions = std::max(positions, positions_ + positions_ / 2);  // Amortised: decode adds one.
    for (std::int32_t p = positions_; p < positions; ++p) {
        for (const double frequency : frequency_) {
            cos_.push_back(static_cast<float>(std::cos(p * frequency)));
            sin_.push_back(static_cast<float>(std::sin(p * frequency)));
        }
    }
    positions_ = positions;
}

}  // namespace hearth::engine
