// epilogue.h: what becomes of an int32 sum of products: its two scales, bias, what is there
// already.
#pragma once

#include "engine/kernels/cuda/row_kernels.h"

namespace hearth::engine::cuda {

// One operand of a matrix product: rows of int8, K-major, one scale a row.
struct Operand {
    const std::int8_t* q = nullptr;
    const float* scale = nullptr;
    std::int32_t rows = 0;
};

// bfloat16's bits, rounded to nearest even; for outputs that want half the bytes.
struct Bfloat16 {
    std::uint16_t bits;
};
HEARTH_KERNEL void store_as(float* to, float v) {
    *to = v;
}
HEARTH_KERNEL void store_as(Bfloat16* to, float v) {
    std::uint32_t bits;
    memcpy(&bits, &v, sizeof bits);
    to->bits = static_cast<std::uint16_t>((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}

// out[token][channel] = float(sum) * token scale * channel scale + bias, added to what is there if
// `accumulate`: the arithmetic of every backend, in this order. Out is float or Bfloat16.
template <class Out>
struct Epilogue {
    Out* out;
    std::int32_t stride;  // Of out, in elements.
    std::int32_t tokens, channels;
    const float* token_scale;
    const float* channel_scale;
    const float* bias;  // Or null.
    bool accumulate;    // Only where Out is float.

    HEARTH_KERNEL void keep(int token, int channel, std::int32_t sum) const {
        if (token >= tokens || channel >= channels) return;
        float v = static_cast<float>(sum) * token_scale[token] * channel_scale[channel];
        if (bias != nullptr) v = v + bias[channel];
        Out* to = out + std::ptrdiff_t{token} * stride + channel;
        if constexpr (sizeof(Out) == sizeof(float)) {
            if (accumulate) v = v + *to;
        }
        store_as(to, v);
    }
};

}  // namespace hearth::engine::cuda
