// attention_kernels.h: attention over int8 KV pages, one page after another with a running softmax.
// Included by the *_kernels.cpp of this folder only; see lanes.h.
#pragma once

#include "engine/kernels/cpu/matmul_kernels.h"

namespace {

constexpr std::int32_t kPageBlocks = kPageTokens / kLanes;
constexpr float kMinusInfinity = -__builtin_inff();

// The query vectors of some rows and of all heads that share a KV head, with their running state
// (Milakov and Gimelshein 2018). Pages are cut by absolute position, so what is added to a vector,
// and in which order, depends on its own position and window alone.
struct AttentionState {
    std::int32_t vectors;
    std::int32_t head_dim;
    std::int32_t out_width;  // head_dim rounded up to kLanes.
    std::int8_t* q;          // [vectors][head_dim]
    float* q_scale;          // [vectors]
    std::int32_t* q_sum;     // [vectors]
    std::int32_t* position;  // [vectors]
    std::int32_t* oldest;    // [vectors]; first position that may be attended.
    float* max;              // [vectors]; largest score so far
    float* alpha;            // [vectors]; what the past is scaled by after this page
    float* sum;              // [vectors][kLanes]; of the probabilities
    float* p;                // [vectors][kPageTokens]; scores, then probability * V scale
    float* out;              // [vectors][out_width]
    float* v;                // [kPageTokens][out_width]; V of the page as floats
    std::uint8_t* k;         // K of the page, packed like weights
    float* k_scale;          // [kPageTokens]
    float* v_scale;          // [kPageTokens]
};

// Lays the arrays out in one block of memory; with base = null it only measures.
HEARTH_INLINE std::size_t lay_out(AttentionState& s, std::byte* base) {
    std::size_t used = 0;
    const auto take = [&](auto*& array, std::size_t count) {
        array = reinterpret_cast<std::remove_reference_t<decltype(array)>>(base + used);
        used += (count * sizeof *array + 63) / 64 * 64;
    };
    const auto vectors = static_cast<std::size_t>(s.vectors);
    const auto width = static_cast<std::size_t>(s.out_width);
    take(s.q, vectors * static_cast<std::size_t>(s.head_dim));
    take(s.q_scale, vectors);
    take(s.q_sum, vectors);
    take(s.position, vectors);
    take(s.oldest, vectors);
    take(s.max, vectors);
    take(s.alpha, vectors);
    take(s.sum, vectors * kLanes);
    take(s.p, vectors * kPageTokens);
    take(s.out, vectors * width);
    take(s.v, kPageTokens * width);
    take(s.k, static_cast<std::size_t>(kPageTokens) * static_cast<std::size_t>(s.head_dim));
    take(s.k_scale, kPageTokens);
    take(s.v_scale, kPageTokens);
    return used;
}

std::size_t attend_scratch(std::int32_t head_dim, std::int32_t vectors) {
    AttentionState s = {};
    s.vectors = vectors;
    s.head_dim = head_dim;
    s.out_width = round_up(head_dim, kLanes);
    return lay_out(s, nullptr);
}

HEARTH_INLINE void gather_queries(const AttendTask& task, AttentionState& s) {
    const AttentionCall& call = *task.call;
    const std::int32_t group = call.heads / call.kv.kv_heads;
    for (std::int32_t i = 0; i < s.vectors; ++i) {
        const std::int32_t row = task.row_begin + i / group;
        const std::int32_t head = task.kv_head * group + i % group;
        const auto at =
            (static_cast<std::ptrdiff_t>(task.run->first_row) + row) * call.heads + head;
        std::memcpy(s.q + static_cast<std::ptrdiff_t>(i) * s.head_dim, task.q->q + at * s.head_dim,
                    static_cast<std::size_t>(s.head_dim));
        s.q_scale[i] = task.q->scale[at];
        s.q_sum[i] = task.q->sum[at];
        const std::int32_t position = task.run->start + row;
        s.position[i] = position;
        const bool all = call.window == 0 || position < call.window;
        s.oldest[i] = all ? 0 : position - call.window + 1;
        s.max[i] = kMinusInfinity;
        store(s.sum + i * kLanes, Floats{});
        float* out = s.out + static_cast<std::ptrdiff_t>(i) * s.out_width;
        for (std::int32_t d = 0; d < s.out_width; d += kLanes) store(out + d, Floats{});
    }
}

// K of `keys` tokens into packed blocks, V into floats, both scales into aligned arrays.
HEARTH_INLINE void read_page(const AttendTask& task, AttentionState& s, std::int32_t page_index,
                             std::int32_t keys) {
    const AttentionCall& call = *task.call;
    const std::byte* page = task.run->pages[page_index];
    const auto* k =
        reinterpret_cast<const std::int8_t*>(page + call.kv.k_offset(call.kv_bank, task.kv_head));
    const auto* v =
        reinterpret_cast<const std::int8_t*>(page + call.kv.v_offset(call.kv_bank, task.kv_head));
    std::memcpy(s.k_scale, page + call.kv.k_scale_offset(call.kv_bank, task.kv_head),
                kPageTokens * sizeof(float));
    std::memcpy(s.v_scale, page + call.kv.v_scale_offset(call.kv_bank, task.kv_head),
                kPageTokens * sizeof(float));
    pack_keys(k, s.head_dim, (keys + kLanes - 1) / kLanes, s.k);
    for (std::int32_t j = 0; j < keys; ++j) {
        const std::int8_t* from = v + static_cast<std::ptrdiff_t>(j) * s.head_dim;
        float* to = s.v + static_cast<std::ptrdiff_t>(j) * s.out_width;
        std::int32_t d = 0;
        for (; d + kLanes <= s.head_dim; d += kLanes) store(to + d, to_floats(from + d));
        if (d == s.head_dim) continue;
        Floats last = {};
        for (std::int32_t i = 0; d + i < s.head_dim; ++i) last[i] = from[d + i];
        store(to + d, last);
    }
}

// Scores of kRows query vectors against the page's 64 keys.
template <std::int32_t kRows>
HEARTH_INLINE void score_tile(AttentionState& s, std::int32_t first) {
    Ints acc[kRows][kPageBlocks];
    dot_tile<kRows, kPageBlocks>(s.q + static_cast<std::ptrdiff_t>(first) * s.head_dim, s.head_dim,
                                 s.k, s.head_dim / 4, acc);
#pragma GCC unroll 8
    for (std::int32_t r = 0; r < kRows; ++r) {
        const std::int32_t i = first + r;
#pragma GCC unroll 4
        for (std::int32_t b = 0; b < kPageBlocks; ++b) {
            const Floats dot = to_floats(without_offset(acc[r][b], s.q_sum[i]));
            store(s.p + i * kPageTokens + b * kLanes,
                  dot * s.q_scale[i] * load(s.k_scale + b * kLanes));
        }
    }
}

// Turns the scores of vector i into probabilities times V scale, masked; updates max, sum, alpha.
HEARTH_INLINE void softmax_page(AttentionState& s, std::int32_t i, std::int32_t first_position) {
    constexpr Ints kIota = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15};
    float* p = s.p + i * kPageTokens;
    Floats score[kPageBlocks];
    Floats largest = splat(kMinusInfinity);
#pragma GCC unroll 4
    for (std::int32_t b = 0; b < kPageBlocks; ++b) {
        const Ints at = kIota + (first_position + b * kLanes);
        const Ints seen = (at >= s.oldest[i]) & (at <= s.position[i]);
        score[b] = seen ? load(p + b * kLanes) : splat(kMinusInfinity);
        largest = max(score[b], largest);
    }
    const float page_max = max_lanes(largest);
    const float new_max = page_max > s.max[i] ? page_max : s.max[i];
    const bool nothing = new_max == kMinusInfinity;  // No key so far: the window starts later.
    const float reference = nothing ? 0.0f : new_max;
    s.alpha[i] = exp2_lanes(splat(s.max[i] - reference))[0];
    s.max[i] = new_max;
    Floats sum = load(s.sum + i * kLanes) * s.alpha[i];
#pragma GCC unroll 4
    for (std::int32_t b = 0; b < kPageBlocks; ++b) {
        const Floats e = exp2_lanes(score[b] - reference);
        sum += e;
        // A masked key's scale may be garbage that was never written: select, do not multiply.
        const Floats scale = load(s.v_scale + b * kLanes);
        store(p + b * kLanes, e > 0.0f ? e * scale : Floats{});
    }
    store(s.sum + i * kLanes, sum);
}

// out = out * alpha + p V for kRows vectors and kWide * 16 columns from d.
template <std::int32_t kRows, std::int32_t kWide>
HEARTH_INLINE void value_tile(AttentionState& s, std::int32_t first, std::int32_t d,
                              std::int32_t keys) {
    Floats acc[kRows][kWide];
    float* out = s.out + static_cast<std::ptrdiff_t>(first) * s.out_width + d;
    const float* p = s.p + first * kPageTokens;
    const float* v = s.v + d;
#pragma GCC unroll 8
    for (std::int32_t r = 0; r < kRows; ++r)
#pragma GCC unroll 4
        for (std::int32_t c = 0; c < kWide; ++c)
            acc[r][c] = load(out + r * s.out_width + c * kLanes) * s.alpha[first + r];
    for (std::int32_t j = 0; j < keys; ++j, v += s.out_width) {
#pragma GCC unroll 8
        for (std::int32_t r = 0; r < kRows; ++r) {
            const Floats weight = splat(p[r * kPageTokens + j]);
#pragma GCC unroll 4
            for (std::int32_t c = 0; c < kWide; ++c) acc[r][c] += weight * load(v + c * kLanes);
        }
    }
#pragma GCC unroll 8
    for (std::int32_t r = 0; r < kRows; ++r)
#pragma GCC unroll 4
        for (std::int32_t c = 0; c < kWide; ++c)
            store(out + r * s.out_width + c * kLanes, acc[r][c]);
}

template <std::int32_t kRows>
HEARTH_INLINE void add_values(AttentionState& s, std::int32_t first, std::int32_t keys) {
    std::int32_t d = 0;
    for (; d + kValueWide * kLanes <= s.out_width; d += kValueWide * kLanes)
        value_tile<kRows, kValueWide>(s, first, d, keys);
    for (; d < s.out_width; d += kLanes) value_tile<kRows, 1>(s, first, d, keys);
}

HEARTH_INLINE void add_page(AttentionState& s, std::int32_t first_position, std::int32_t keys) {
    std::int32_t i = 0;
    for (; i + kTileRows <= s.vectors; i += kTileRows) score_tile<kTileRows>(s, i);
    for (; i < s.vectors; ++i) score_tile<1>(s, i);
    for (i = 0; i < s.vectors; ++i) softmax_page(s, i, first_position);
    for (i = 0; i + kValueRows <= s.vectors; i += kValueRows) add_values<kValueRows>(s, i, keys);
    for (; i < s.vectors; ++i) add_values<1>(s, i, keys);
}

void attend(const AttendTask& task) {
    const AttentionCall& call = *task.call;
    const std::int32_t group = call.heads / call.kv.kv_heads;
    AttentionState s = {};
    s.vectors = (task.row_end - task.row_begin) * group;
    s.head_dim = call.kv.head_dim;
    s.out_width = round_up(s.head_dim, kLanes);
    lay_out(s, task.scratch);
    gather_queries(task, s);
    const std::int32_t newest = s.position[s.vectors - 1];
    for (std::int32_t page = s.oldest[0] / kPageTokens; page <= newest / kPageTokens; ++page) {
        const std::int32_t first = page * kPageTokens;
        const std::int32_t keys =
            newest + 1 - first < kPageTokens ? newest + 1 - first : kPageTokens;
        read_page(task, s, page, keys);
        add_page(s, first, keys);
    }
    for (std::int32_t i = 0; i < s.vectors; ++i) {
        const float inverse = 1.0f / sum_lanes(load(s.sum + i * kLanes));
        const auto row =
            static_cast<std::ptrdiff_t>(task.run->first_row) + task.row_begin + i / group;
        const std::int32_t head = task.kv_head * group + i % group;
        float* out = task.out + row * task.stride + head * s.head_dim;
        const float* from = s.out + static_cast<std::ptrdiff_t>(i) * s.out_width;
        for (std::int32_t d = 0; d < s.head_dim; d += kLanes)
            store_some(out + d, load(from + d) * inverse, s.head_dim - d);
    }
}

const CpuKernels kKernels = {
    kIsa,   pack_row,      embed_row, norm_quantize_row, quantize_row, swiglu_quantize_row,
    matmul, rope_quantize, attend,    attend_scratch,
};

}  // namespace
