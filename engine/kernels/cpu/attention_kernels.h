// attention_kernels.h: attention over int8 KV pages, one page after another with a running softmax.
// Included by the *_kernels.cpp of this folder only; see lanes.h.
#pragma once

#include "engine/kernels/cpu/family_kernels.h"
#include "engine/kernels/cpu/matmul_kernels.h"
#include "engine/kernels/cpu/probe_kernels.h"

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
        store(s.sum + i * kLanes, splat(0.0f));
        float* out = s.out + static_cast<std::ptrdiff_t>(i) * s.out_width;
        for (std::int32_t d = 0; d < s.out_width; d += kLanes) store(out + d, splat(0.0f));
    }
}

// Asks for the bytes of a page that comes next: a sequence's pages are not neighbours in memory, so
// the processor does not foresee them.
HEARTH_INLINE void prefetch_page(const AttendTask& task, std::int32_t page_index) {
    const AttentionCall& call = *task.call;
    const std::byte* block =
        task.run->pages[page_index] + call.kv.block(call.kv_bank, task.kv_head);
    for (std::size_t i = 0; i < call.kv.head_bytes(); i += 64) __builtin_prefetch(block + i);
}

// K of `keys` tokens into packed blocks, both scales into aligned arrays.
HEARTH_INLINE void read_keys(const AttendTask& task, AttentionState& s, const std::byte* page,
                             std::int32_t keys) {
    const AttentionCall& call = *task.call;
    const auto* k =
        reinterpret_cast<const std::int8_t*>(page + call.kv.k_offset(call.kv_bank, task.kv_head));
    pack_keys(k, s.head_dim, (keys + kLanes - 1) / kLanes, s.k);
    std::memcpy(s.k_scale, page + call.kv.k_scale_offset(call.kv_bank, task.kv_head),
                kPageTokens * sizeof(float));
    std::memcpy(s.v_scale, page + call.kv.v_scale_offset(call.kv_bank, task.kv_head),
                kPageTokens * sizeof(float));
}

// V of `keys` tokens as floats: many vectors share the conversion.
HEARTH_INLINE void read_values(AttentionState& s, const std::int8_t* v, std::int32_t keys) {
    for (std::int32_t j = 0; j < keys; ++j, v += s.head_dim) {
        float* to = s.v + static_cast<std::ptrdiff_t>(j) * s.out_width;
        std::int32_t d = 0;
        for (; d + kNativeLanes <= s.head_dim; d += kNativeLanes)
            store_native(to + d, to_native_floats(v + d));
        for (; d < s.out_width; ++d) to[d] = d < s.head_dim ? static_cast<float>(v[d]) : 0.0f;
    }
}

// Scores of kRows query vectors against the page's 64 keys.
template <std::int32_t kRows>
HEARTH_INLINE void score_tile(AttentionState& s, std::int32_t first) {
    const auto keep = [&](std::size_t r, std::size_t tile_block, const Ints& acc) HEARTH_FLAT {
        const std::int32_t i = first + static_cast<std::int32_t>(r);
        const auto b = static_cast<std::int32_t>(tile_block);
        const Floats dot = to_floats(without_offset(acc, s.q_sum[i]));
        store(s.p + i * kPageTokens + b * kLanes,
              dot * s.q_scale[i] * load(s.k_scale + b * kLanes));
    };
    dot_tile<kRows, kPageBlocks>(s.q + static_cast<std::ptrdiff_t>(first) * s.head_dim, s.head_dim,
                                 s.k, s.head_dim / 4, keep);
}

// Minus infinity where the position is not in [oldest, newest].
HEARTH_INLINE Floats masked(const Floats& score, std::int32_t position, std::int32_t oldest,
                            std::int32_t newest) {
    static constexpr std::int32_t kIota[kLanes] = {0, 1, 2,  3,  4,  5,  6,  7,
                                                   8, 9, 10, 11, 12, 13, 14, 15};
    if (position >= oldest && position + kLanes - 1 <= newest) return score;
    return each_part<Floats>([&](std::size_t i) {
        NativeInts at;
        std::memcpy(&at, kIota + i * kNativeLanes, sizeof at);
        at += position;
        return (at >= oldest) & (at <= newest) ? score.part[i] : splat_native(kMinusInfinity);
    });
}

// Turns the scores of vector i into probabilities times V scale, masked; updates max, sum, alpha.
HEARTH_INLINE void softmax_page(AttentionState& s, std::int32_t i, std::int32_t first_position) {
    float* p = s.p + i * kPageTokens;
    Floats score[kPageBlocks];
    Floats largest = splat(kMinusInfinity);
#pragma GCC unroll 4
    for (std::int32_t b = 0; b < kPageBlocks; ++b) {
        score[b] =
            masked(load(p + b * kLanes), first_position + b * kLanes, s.oldest[i], s.position[i]);
        largest = max(score[b], largest);
    }
    const float page_max = max_lanes(largest);
    const float new_max = page_max > s.max[i] ? page_max : s.max[i];
    // Minus infinity: no key so far, because the window starts on a later page.
    const float reference = new_max == kMinusInfinity ? 0.0f : new_max;
    s.alpha[i] = 1.0f;
    if (new_max > s.max[i]) s.alpha[i] = first_lane(exp2_lanes(splat(s.max[i] - reference)));
    s.max[i] = new_max;
    Floats sum = load(s.sum + i * kLanes) * s.alpha[i];
    unrolled<kPageBlocks>([&](std::size_t b) HEARTH_FLAT {
        const Floats e = exp2_lanes(score[b] - reference);
        sum = sum + e;
        // A masked key's scale may be garbage that was never written: select, do not multiply.
        store(p + b * kLanes, where_above(e, 0.0f, e * load(s.v_scale + b * kLanes)));
    });
    store(s.sum + i * kLanes, sum);
}

// V of one page, as floats or still as bytes: the arithmetic is the same.
struct FloatValues {
    const float* v;
    std::int32_t stride;
    HEARTH_INLINE NativeFloats at(std::int32_t key, std::int32_t d) const {
        return load_native(v + static_cast<std::ptrdiff_t>(key) * stride + d);
    }
};
struct ByteValues {
    const std::int8_t* v;
    std::int32_t stride;
    HEARTH_INLINE NativeFloats at(std::int32_t key, std::int32_t d) const {
        return to_native_floats(v + static_cast<std::ptrdiff_t>(key) * stride + d);
    }
};

// out = out * alpha + p V for kRows vectors and kWide native vectors of columns from d.
template <std::int32_t kRows, std::int32_t kWide, typename Values>
HEARTH_INLINE void value_tile(AttentionState& s, std::int32_t first, std::int32_t d,
                              const Values& values, std::int32_t keys) {
    NativeFloats acc[kRows][kWide];
    float* out[kRows];
    const float* p = s.p + first * kPageTokens;
    unrolled<kRows>([&](std::size_t r) HEARTH_FLAT {
        const std::ptrdiff_t i = first + static_cast<std::ptrdiff_t>(r);
        out[r] = s.out + i * s.out_width + d;
        unrolled<kWide>([&](std::size_t c) HEARTH_FLAT {
            acc[r][c] = load_native(out[r] + c * kNativeLanes) * s.alpha[i];
        });
    });
    for (std::int32_t j = 0; j < keys; ++j) {
        NativeFloats v[kWide];
        unrolled<kWide>([&](std::size_t c) HEARTH_FLAT {
            v[c] = values.at(j, d + static_cast<std::int32_t>(c) * kNativeLanes);
        });
        unrolled<kRows>([&](std::size_t r) HEARTH_FLAT {
            const NativeFloats weight =
                splat_native(p[r * kPageTokens + static_cast<std::size_t>(j)]);
            unrolled<kWide>([&](std::size_t c) HEARTH_FLAT { acc[r][c] += weight * v[c]; });
        });
    }
    unrolled<kRows>([&](std::size_t r) HEARTH_FLAT {
        unrolled<kWide>([&](std::size_t c)
                            HEARTH_FLAT { store_native(out[r] + c * kNativeLanes, acc[r][c]); });
    });
}

template <std::int32_t kRows, typename Values>
void value_rows(AttentionState& s, std::int32_t first, const Values& values, std::int32_t keys) {
    std::int32_t d = 0;
    for (; d + kValueWide * kNativeLanes <= s.out_width; d += kValueWide * kNativeLanes)
        value_tile<kRows, kValueWide>(s, first, d, values, keys);
    for (; d < s.out_width; d += kNativeLanes) value_tile<kRows, 1>(s, first, d, values, keys);
}

template <typename Values>
HEARTH_INLINE void add_values(AttentionState& s, const Values& values, std::int32_t keys) {
    std::int32_t i = 0;
    for (; i + kValueRows <= s.vectors; i += kValueRows) value_rows<kValueRows>(s, i, values, keys);
    if (s.vectors - i == 3) return value_rows<3>(s, i, values, keys);
    if (s.vectors - i == 2) return value_rows<2>(s, i, values, keys);
    if (s.vectors - i == 1) return value_rows<1>(s, i, values, keys);
}

HEARTH_INLINE void add_page(const AttendTask& task, AttentionState& s, std::int32_t page_index,
                            std::int32_t keys) {
    const AttentionCall& call = *task.call;
    const std::byte* page = task.run->pages[page_index];
    read_keys(task, s, page, keys);
    std::int32_t i = 0;
    for (; i + kTileRows <= s.vectors; i += kTileRows) score_tile<kTileRows>(s, i);
    for (; i + 3 <= s.vectors; i += 3) score_tile<3>(s, i);
    for (; i < s.vectors; ++i) score_tile<1>(s, i);
    // Scores are in base 2 here, and so is the cap.
    if (call.softcap > 0.0f) soft_cap_row(call.softcap * kLog2E, s.p, s.vectors * kPageTokens);
    for (i = 0; i < s.vectors; ++i) softmax_page(s, i, page_index * kPageTokens);
    const auto* v =
        reinterpret_cast<const std::int8_t*>(page + call.kv.v_offset(call.kv_bank, task.kv_head));
    if (s.vectors <= kValueRows && s.head_dim == s.out_width)
        return add_values(s, ByteValues{v, s.head_dim}, keys);
    read_values(s, v, keys);
    add_values(s, FloatValues{s.v, s.out_width}, keys);
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
        if (first + kPageTokens <= newest) prefetch_page(task, page + 1);
        add_page(task, s, page, keys);
    }
    for (std::int32_t i = 0; i < s.vectors; ++i) {
        const float inverse = 1.0f / sum_lanes(load(s.sum + i * kLanes));
        const auto row =
            static_cast<std::ptrdiff_t>(task.run->first_row) + task.row_begin + i / group;
        const std::int32_t head = task.kv_head * group + i % group;
        float* out = task.out + row * task.stride + head * s.head_dim;
        const float* from = s.out + static_cast<std::ptrdiff_t>(i) * s.out_width;
        for (std::int32_t d = 0; d < s.head_dim; ++d) out[d] = from[d] * inverse;
    }
}

const CpuKernels kKernels = {
    kIsa,
    pack_row,
    pack_int4,
    embed_row,
    norm_quantize_row,
    quantize_row,
    swiglu_quantize_row,
    geglu_quantize_row,
    norm_add_row,
    norm_heads_row,
    soft_cap_row,
    matmul,
    rope_quantize,
    attend,
    attend_scratch,
    probe_products,
};

}  // namespace
