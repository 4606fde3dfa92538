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

RopeTable::RopeTable(const ModelConfig& config, bool local)
    : style_(config.rope_style), magnitude_(local ? 1.0 : double{config.rope_magnitude}) {
    const double theta = local ? config.local_rope_theta : config.rope_theta;
    const std::int32_t pairs = config.rope_dim / 2;
    for (std::int32_t i = 0; i < pairs; ++i) {
        const double exponent = -2.0 * i / config.rope_dim;
        frequency_.push_back(std::pow(theta, exponent));
        if (local) continue;
        frequency_.back() = rescale(frequency_.back(), config.rope_scaling);
        if (!config.rope_freq_factors.empty())
            frequency_.back() /= config.rope_freq_factors[static_cast<std::size_t>(i)];
    }
}

// The sum of e^(i w p) over p < n is sin(n w / 2) / sin(w / 2) e^(i w (n - 1) / 2).
std::vector<float> RopeTable::mean_rotation(const float* head, const ModelConfig& config) const {
    std::vector<float> out(head, head + config.head_dim);
    const double n = config.context_length;
    for (std::int32_t i = 0; i < pairs(); ++i) {
        const bool halves = style_ == RopeStyle::kHalves;
        float& a = out[static_cast<std::size_t>(halves ? i : 2 * i)];
        float& b = out[static_cast<std::size_t>(halves ? i + pairs() : 2 * i + 1)];
        const double w = frequency_[static_cast<std::size_t>(i)], s = std::sin(w / 2);
        const double length = s == 0.0 ? 1.0 : std::sin(n * w / 2) / (n * s);
        const double c = magnitude_ * length * std::cos(w * (n - 1) / 2);
        const double d = magnitude_ * length * std::sin(w * (n - 1) / 2);
        const double a0 = a, b0 = b;
        a = static_cast<float>(a0 * c - b0 * d);
        b = static_cast<float>(a0 * d + b0 * c);
    }
    return out;
}

void RopeTable::grow(std::int32_t positions) {
    if (positions <= positions_) return;
    positions = std::max(positions, positions_ + positions_ / 2);  // Amortised: decode adds one.
    for (std::int32_t p = positions_; p < positions; ++p) {
        for (const double frequency : frequency_) {
            cos_.push_back(static_cast<float>(magnitude_ * std::cos(p * frequency)));
            sin_.push_back(static_cast<float>(magnitude_ * std::sin(p * frequency)));
        }
    }
    positions_ = positions;
}

}  // namespace hearth::engine
