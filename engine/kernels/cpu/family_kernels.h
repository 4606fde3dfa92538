// family_kernels.h: what some model families add to Llama's step: GeGLU, norms of heads and of what
// a layer adds, soft caps. Included by the *_kernels.cpp of this folder only; see lanes.h.
#pragma once

#include "engine/kernels/cpu/row_kernels.h"

namespace {

// tanh(z) = 1 - 2 / (1 + e^2z); its absolute error is that of the division, 1e-7.
HEARTH_INLINE Floats tanh_lanes(const Floats& z) {
    constexpr float kTwoLog2E = 2.88539008f;
    return splat(1.0f) - splat(2.0f) / (exp2_lanes(z * kTwoLog2E) + 1.0f);
}

// x = cap * tanh(x / cap) for `count` floats, a multiple of 16 or not.
void soft_cap_row(float cap, float* x, std::int32_t count) {
    const float inverse = 1.0f / cap;
    for (std::int32_t i = 0; i < count; i += kLanes) {
        const Floats v = tanh_lanes(load_some(x + i, count - i) * inverse) * cap;
        if (count - i >= kLanes) {
            store(x + i, v);
        } else {
            float lanes[kLanes];
            store(lanes, v);
            for (std::int32_t j = 0; i + j < count; ++j) x[i + j] = lanes[j];
        }
    }
}

// GELU by tanh: x / 2 (1 + tanh u) = x / (1 + e^-2u), u = sqrt(2 / pi) (x + 0.044715 x^3).
void geglu_quantize_row(const float* gate_up, std::int32_t stride, const QuantRows& out,
                        std::int32_t row, float* scratch) {
    constexpr float kMinusTwoLog2E = -2.30220819f;  // -2 sqrt(2 / pi) log2(e)
    quantize_row_of(stride, out, row, scratch, [=](std::int32_t i) {
        const Floats gate = load(gate_up + i);
        const Floats u = gate + gate * gate * gate * 0.044715f;
        return gate / (exp2_lanes(u * kMinusTwoLog2E) + 1.0f) * load(gate_up + stride + i);
    });
}

void norm_heads_row(const Backend::Norm& norm, std::int32_t heads, float* x) {
    for (std::int32_t h = 0; h < heads; ++h, x += norm.width) {
        const float inverse = inverse_rms(x, norm.width, norm.eps);
        for (std::int32_t i = 0; i < norm.width; ++i) x[i] = x[i] * inverse * norm.gamma[i];
    }
}

void norm_add_row(const Backend::Norm& norm, const float* y, float* x) {
    const float inverse = inverse_rms(y, norm.width, norm.eps);
    for (std::int32_t i = 0; i < norm.stride; i += kLanes)
        store(x + i, load(x + i) + load(y + i) * inverse * load(norm.gamma + i));
}

}  // namespace
