// rotation.h: the fixed rotation of every matmul input, which spreads outliers before int8.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/model/weights.h"

namespace hearth::engine {

// A few input channels of trained models are tens of times larger than the rest, and with one scale
// per row they push the others into a few int8 steps. So inputs are multiplied by a Hadamard matrix
// in blocks of 64 channels (H / 8, orthonormal and symmetric; Ashkboos et al. 2024), and so are the
// rows of the weights: products stay what they were, and an outlier is shared by 64 channels.
constexpr std::int32_t kRotation = 64;
constexpr float kRotationScale = 0.125f;  // 1 / sqrt(64), exact.

// Row `row` of `m` rotated and quantised anew, zero-padded to a multiple of kRotation channels into
// `q`; returns its scale. Exact up to the one rounding to int8. If m.int4: not rotated (int4.h
// says why); the backend makes four bits of it.
float rotate_row(const QuantMatrix& m, std::int32_t row, std::span<std::int8_t> q);

// In place, unnormalised: x = H x for 64 numbers.
template <typename T>
void hadamard64(T* x) {
    for (std::int32_t half = 1; half < kRotation; half *= 2) {
        for (T* block = x; block < x + kRotation; block += 2 * half) {
            for (std::int32_t i = 0; i < half; ++i) {
                const T a = block[i], b = block[i + half];
                block[i] = a + b;
                block[i + half] = a - b;
            }
        }
    }
}

}  // namespace hearth::engine
