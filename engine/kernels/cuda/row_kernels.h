// row_kernels.h: rows of floats: look-up, norms, activations, quantisation. A block takes a row.
#pragma once

#include "engine/kernels/cuda/simt.h"
#include "engine/kernels/ops.h"
#include "engine/kernels/rotation.h"

namespace hearth::engine::cuda {

constexpr float kLog2E = 1.44269504f;
constexpr float kAbsmaxMin = 1e-30f;  // Rows whose largest value is below it are zero.

// 2^x to the bit as engine/kernels/cpu/lanes.h has it. (Attention takes the instruction, which is
// near: it needs too many of them.)
HEARTH_KERNEL float exp2_same(float x) {
    const float clamped = fmaxf(fminf(x, 127.0f), -126.0f);
    const float whole = rintf(clamped), f = clamped - whole;
    float p = 1.5252734e-05f;
    p = p * f + 1.5403530e-04f;
    p = p * f + 1.3333558e-03f;
    p = p * f + 9.6181291e-03f;
    p = p * f + 5.5504109e-02f;
    p = p * f + 2.4022651e-01f;
    p = p * f + 6.9314718e-01f;
    p = p * f + 1.0f;
    const std::int32_t bits = (static_cast<std::int32_t>(whole) + 127) * (1 << 23);
    float scale;
    memcpy(&scale, &bits, sizeof scale);
    return clamped > -126.0f ? p * scale : 0.0f;
}

// A weight matrix on the device: rotated int8 as rotate_row() makes it, row-major.
struct Matrix {
    const std::int8_t* q = nullptr;  // [rows][width], 128-byte aligned
    const float* scale = nullptr;    // [rows]
    std::int32_t rows = 0;           // Output channels, a multiple of kRowFloats.
    std::int32_t width = 0;          // Input channels, a multiple of kRowBytes.
};

// Stage `apart` of the Walsh-Hadamard transform over lanes.
template <class B>
HEARTH_KERNEL void butterfly(B& block, Own<B, float>& v, int apart) {
    const Own<B, float> other = block.xor_lanes(v, apart);
    block.each([&](int t) { v[t] = (t & apart) != 0 ? other[t] - v[t] : v[t] + other[t]; });
}

// 64 channels in a warp, `low` the first 32 of them: becomes H x / 8.
template <class B>
HEARTH_KERNEL void rotate_warp(B& block, Own<B, float>& low, Own<B, float>& high) {
    HEARTH_UNROLL
    for (int apart = 1; apart < kWarp; apart *= 2) {
        butterfly(block, low, apart);
        butterfly(block, high, apart);
    }
    block.each([&](int t) {
        const float a = low[t], b = high[t];
        low[t] = (a + b) * kRotationScale;
        high[t] = (a - b) * kRotationScale;
    });
}

// What a row is before it is quantised. value(i) is channel i; prepare() runs once a row.
struct PlainRow {
    const float* x;
    std::int32_t stride;
    HEARTH_KERNEL float value(int row, int i, float) const {
        return x[std::ptrdiff_t{row} * stride + i];
    }
    template <class B>
    HEARTH_KERNEL void prepare(B&, int, Own<B, float>&, float*) const {}
};

// By blocks of 256 threads: as engine/kernels/cpu/row_kernels.h sums, to the bit.
constexpr int kRmsLanes = 256;
template <class B>
HEARTH_KERNEL void inverse_rms(B& block, const float* x, int width, float eps, Own<B, float>& out,
                               float* shared) {
    static_assert(B::kThreads == kRmsLanes);
    block.each([&](int t) {
        float squares = 0.0f;
        for (int i = t; i < width; i += kRmsLanes) squares = squares + x[i] * x[i];
        out[t] = squares;
    });
    block_sum<B, float>(block, out, shared);
    block.each([&](int t) { out[t] = 1.0f / sqrtf(out[t] / static_cast<float>(width) + eps); });
}

struct NormedRow {
    Backend::Norm norm;
    const float* x;
    HEARTH_KERNEL float value(int row, int i, float inverse) const {
        return x[std::ptrdiff_t{row} * norm.stride + i] * inverse * norm.gamma[i];
    }
    template <class B>
    HEARTH_KERNEL void prepare(B& block, int row, Own<B, float>& inverse, float* shared) const {
        inverse_rms(block, x + std::ptrdiff_t{row} * norm.stride, norm.width, norm.eps, inverse,
                    shared);
    }
};

// silu(gate) * up, or gelu(gate) * up by tanh: x / (1 + e^-2u), u = sqrt(2 / pi) (x + 0.044715
// x^3).
struct GatedRow {
    const float* gate_up;  // A row is gate [stride], then up [stride].
    std::int32_t stride;
    bool gelu;
    HEARTH_KERNEL float value(int row, int i, float) const {
        const float* at = gate_up + std::ptrdiff_t{row} * 2 * stride + i;
        const float gate = at[0];
        const float u =
            gelu ? (gate + gate * gate * gate * 0.044715f) * -2.30220819f : gate * -kLog2E;
        return gate / (exp2_same(u) + 1.0f) * at[stride];
    }
    template <class B>
    HEARTH_KERNEL void prepare(B&, int, Own<B, float>&, float*) const {}
};

// Rotates (if out.rotated) and quantises rows. Shared: kReduce floats, then the row as floats.
template <class Row>
struct QuantizeKernel {
    static constexpr int kThreads = 256;
    static constexpr int kReduce = 32;
    Row from;
    std::int32_t width;  // Of a row in memory; zeros from there to out.stride.
    QuantRows out;

    static std::size_t shared_bytes(std::int32_t stride) {
        return (kReduce + static_cast<std::size_t>(stride)) * sizeof(float);
    }

    template <class B>
    HEARTH_KERNEL void run(B& block) const {
        auto* reduce = reinterpret_cast<float*>(block.shared);
        float* values = reduce + kReduce;
        Own<B, float> factor, largest, low, high;
        block.each([&](int t) { factor[t] = largest[t] = 0.0f; });
        from.prepare(block, block.x, factor, reduce);
        // A warp takes 64 channels at a time; all warps go around equally often.
        constexpr int kSpan = kThreads / kWarp * kRotation;
        for (int first = 0; first < out.stride; first += kSpan) {
            block.each([&](int t) {
                const int i = first + t / kWarp * kRotation + t % kWarp;
                low[t] = i < width ? from.value(block.x, i, factor[t]) : 0.0f;
                high[t] = i + kWarp < width ? from.value(block.x, i + kWarp, factor[t]) : 0.0f;
            });
            if (out.rotated) rotate_warp(block, low, high);
            block.each([&](int t) {
                const int i = first + t / kWarp * kRotation + t % kWarp;
                if (i >= out.stride) return;
                values[i] = low[t];
                values[i + kWarp] = high[t];
                largest[t] = fmaxf(largest[t], fmaxf(fabsf(low[t]), fabsf(high[t])));
            });
        }
        block_max(block, largest, reduce);
        quantize(block, values, largest, reinterpret_cast<int*>(reduce));
    }

  private:
    template <class B>
    HEARTH_KERNEL void quantize(B& block, const float* values, const Own<B, float>& largest,
                                int* reduce) const {
        Own<B, int> sum;
        block.each([&](int t) {
            const bool zero = !(largest[t] >= kAbsmaxMin);
            const float inverse = zero ? 0.0f : 127.0f / largest[t];
            std::int8_t* to = out.q + std::ptrdiff_t{block.x} * out.stride;
            sum[t] = 0;
            for (int i = t * 4; i < out.stride; i += kThreads * 4) {
                std::uint32_t word = 0;
                HEARTH_UNROLL
                for (int j = 0; j < 4; ++j) {
                    const float v = B::round_even(values[i + j] * inverse);
                    const int q = static_cast<int>(fminf(fmaxf(v, -127.0f), 127.0f));
                    sum[t] += q;
                    word |= static_cast<std::uint32_t>(q & 255) << 8 * j;
                }
                *reinterpret_cast<std::uint32_t*>(to + i) = word;
            }
            if (t == 0) out.scale[block.x] = zero ? 0.0f : largest[t] / 127.0f;
        });
        block_sum<B, int>(block, sum, reduce);
        block.each([&](int t) {
            if (t == 0) out.sum[block.x] = sum[t];
        });
    }
};

// A token's row of the table as it was before it was rotated.
struct EmbedKernel {
    static constexpr int kThreads = 256;
    Matrix table;
    const TokenId* tokens;        // On the device,
    const std::int32_t* sources;  // where this is -1; else what this row of the step before drew.
    const TokenId* sampled;
    float* out;
    std::int32_t stride;

    template <class B>
    HEARTH_KERNEL void run(B& block) const {
        const std::int32_t source = sources[block.x];
        const TokenId token = source < 0 ? tokens[block.x] : sampled[source];
        const std::int8_t* q = table.q + std::ptrdiff_t{token} * table.width;
        const float scale = table.scale[token];
        float* to = out + std::ptrdiff_t{block.x} * stride;
        Own<B, float> low, high;
        constexpr int kSpan = kThreads / kWarp * kRotation;
        for (int first = 0; first < table.width; first += kSpan) {
            block.each([&](int t) {
                const int i = first + t / kWarp * kRotation + t % kWarp;
                low[t] = i < table.width ? static_cast<float>(q[i]) * scale : 0.0f;
                high[t] = i < table.width ? static_cast<float>(q[i + kWarp]) * scale : 0.0f;
            });
            rotate_warp(block, low, high);
            block.each([&](int t) {
                const int i = first + t / kWarp * kRotation + t % kWarp;
                if (i < stride) to[i] = low[t];
                if (i + kWarp < stride) to[i + kWarp] = high[t];
            });
        }
    }
};

// x += y / rms(y) * gamma.
struct NormAddKernel {
    static constexpr int kThreads = 256;
    Backend::Norm norm;
    const float* y;
    float* x;

    template <class B>
    HEARTH_KERNEL void run(B& block) const {
        const float* from = y + std::ptrdiff_t{block.x} * norm.stride;
        float* to = x + std::ptrdiff_t{block.x} * norm.stride;
        Own<B, float> inverse;
        inverse_rms(block, from, norm.width, norm.eps, inverse,
                    reinterpret_cast<float*>(block.shared));
        block.each([&](int t) {
            for (int i = t; i < norm.stride; i += kThreads)
                to[i] = to[i] + from[i] * inverse[t] * norm.gamma[i];
        });
    }
};

// Every head of a row becomes head / rms(head) * gamma; a warp takes a head.
struct NormHeadsKernel {
    static constexpr int kThreads = 128;
    Backend::Norm norm;
    std::int32_t heads;
    float* x;

    template <class B>
    HEARTH_KERNEL void run(B& block) const {
        constexpr int kWarps = kThreads / kWarp;
        Own<B, float> squares, sum;
        for (int first = 0; first < heads; first += kWarps) {
            block.each([&](int t) { sum[t] = 0.0f; });
            // In the order of inverse_rms(), a warp in the place of eight.
            for (int part = 0; part < kRmsLanes && part < norm.width; part += kWarp) {
                block.each([&](int t) {
                    squares[t] = 0.0f;
                    const float* from = head_of(block.x, first + t / kWarp);
                    if (from == nullptr) return;
                    for (int i = part + t % kWarp; i < norm.width; i += kRmsLanes)
                        squares[t] = squares[t] + from[i] * from[i];
                });
                warp_sum<kWarp / 2, 0, B, float>(block, squares);
                block.each([&](int t) { sum[t] = sum[t] + squares[t]; });
            }
            block.each([&](int t) {
                float* to = head_of(block.x, first + t / kWarp);
                if (to == nullptr) return;
                const float mean = sum[t] / static_cast<float>(norm.width);
                const float inverse = 1.0f / sqrtf(mean + norm.eps);
                for (int i = t % kWarp; i < norm.width; i += kWarp)
                    to[i] = to[i] * inverse * norm.gamma[i];
            });
        }
    }

  private:
    HEARTH_KERNEL float* head_of(int row, int head) const {
        if (head >= heads) return nullptr;
        return x + std::ptrdiff_t{row} * norm.stride + std::ptrdiff_t{head} * norm.width;
    }
};

// tanh(z) = 1 - 2 / (1 + e^2z); cap * tanh(x / cap).
HEARTH_KERNEL float soft_capped(float cap, float x) {
    constexpr float kTwoLog2E = 2.88539008f;
    return cap * (1.0f - 2.0f / (exp2_same(x * (1.0f / cap) * kTwoLog2E) + 1.0f));
}

struct SoftCapKernel {
    static constexpr int kThreads = 256;
    float cap;
    float* x;
    std::int64_t count;

    template <class B>
    HEARTH_KERNEL void run(B& block) const {
        block.each([&](int t) {
            const std::int64_t i = std::int64_t{block.x} * kThreads + t;
            if (i < count) x[i] = soft_capped(cap, x[i]);
        });
    }
};

// to[i] = from[rows[i]], rows of `stride` floats; `to` and `from` do not overlap.
struct GatherRowsKernel {
    static constexpr int kThreads = 256;
    const float* from;
    const std::int32_t* rows;
    float* to;
    std::int32_t stride;

    template <class B>
    HEARTH_KERNEL void run(B& block) const {
        const float* row = from + std::ptrdiff_t{rows[block.x]} * stride;
        block.each([&](int t) {
            for (int i = t; i < stride; i += kThreads)
                to[std::ptrdiff_t{block.x} * stride + i] = row[i];
        });
    }
};

}  // namespace hearth::engine::cuda
