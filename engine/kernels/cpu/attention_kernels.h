// attention_kernels.h: attention over int8 KV pages, one page after another with a running softmax.
// Included by the *_kernels.cpp of this folder only; see lanes.h.
#pragma once

#include "engine/kernels/cpu/family_kernels.h"
#include "engine/kernels/cpu/matmul_kernels.h"
#include "engine/kernels/cpu/probe_kernels.h"

namespace {

constexpr std::int32_t kPageBlocks = kPageTokens / kLanes;
constexpr float kMinusInfinity = -__builtin_inff();
constexpr float kLeastScore = -3e38f;

// The K and V of a page that comes after this one: a sequence's pages are not neighbours in memory,
// so the processor does not foresee them. They are fetched while this page is worked on.
struct NextBlock {
    const std::byte* at = nullptr;
    const std::byte* end = nullptr;

    HEARTH_INLINE void fetch(std::int32_t lines) {
        for (std::int32_t i = 0; i < lines && at < end; ++i, at += 64) __builtin_prefetch(at, 0, 2);
    }
};

// The query vectors of a task, KV head by KV head, with their running state (Milakov and Gimelshein
// 2018): of the segment of kAttendSegment pages that is under way, and of all before it. Pages and
// segments are cut by absolute position, so what is added to a vector, and in which order, depends
// on its own position and window alone.
struct AttentionState {
    std::int32_t vectors;
    std::int32_t per_head;  // Vectors that share a KV head: those of [head * per_head, ...).
    std::int32_t head_dim;
    std::int32_t out_width;  // head_dim rounded up to kLanes.
    std::int8_t* q;          // [vectors][head_dim]
    float* q_scale;          // [vectors]
    std::int32_t* q_sum;     // [vectors]
    std::int32_t* position;  // [vectors]
    std::int32_t* oldest;    // [vectors]; first position that may be attended.
    float* max;              // [vectors + kLanes]; largest score so far, in this segment
    float* alpha;            // [vectors]; what the past is scaled by after this page
    float* sum;              // [vectors][kLanes]; of the probabilities
    float* p;                // [vectors][kPageTokens]; scores, then probability * V scale
    float* out;              // [vectors][out_width]
    float* total;            // [vectors][partial_floats()]; of all segments before
    float* v;                // [kPageTokens][out_width]; V of the page as floats
    std::uint8_t* k;         // K of the page, packed like weights
    float* k_scale;          // [kPageTokens]
    float* v_scale;          // [kPageTokens]
    NextBlock next;
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
    take(s.max, vectors + kLanes);
    take(s.alpha, vectors);
    take(s.sum, vectors * kLanes);
    take(s.p, vectors * kPageTokens);
    take(s.out, vectors * width);
    take(s.total, vectors * static_cast<std::size_t>(partial_floats(s.head_dim)));
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

HEARTH_INLINE std::int32_t group_of(const AttentionCall& call) {
    return call.heads / call.kv.kv_heads;
}

// A vector of the task: its row within the run, and its query head.
struct Place {
    std::int32_t row, head;
};
HEARTH_INLINE Place place_of(const AttendTask& task, const AttentionState& s, std::int32_t i) {
    const std::int32_t group = group_of(*task.call), in_head = i % s.per_head;
    return {task.row_begin + in_head / group,
            (task.head_begin + i / s.per_head) * group + in_head % group};
}

// Nothing has been attended yet in this segment.
HEARTH_INLINE void begin_segment(AttentionState& s) {
    for (std::int32_t i = 0; i < s.vectors; ++i) {
        s.max[i] = kMinusInfinity;
        store(s.sum + i * kLanes, splat(0.0f));
        float* out = s.out + static_cast<std::ptrdiff_t>(i) * s.out_width;
        for (std::int32_t d = 0; d < s.out_width; d += kLanes) store(out + d, splat(0.0f));
    }
}

// A partial result: [kLanes] largest score in each, [kLanes] sums, [out_width] values.
HEARTH_INLINE void clear_partial(float* total, std::int32_t out_width) {
    store(total, splat(kMinusInfinity));
    for (std::int32_t d = 0; d < kLanes + out_width; d += kLanes)
        store(total + kLanes + d, splat(0.0f));
}

// Adds the result of the next segment to that of all segments before it.
HEARTH_INLINE void add_segment(float* total, float max_score, const float* sum, const float* out,
                               std::int32_t out_width) {
    const Floats before = load(total), segment = splat(max_score), now = max(segment, before);
    // Where both are minus infinity both are zeros, whatever they are scaled by.
    const Floats reference = max(now, splat(kLeastScore));
    const Floats a = exp2_lanes(before - reference), b = exp2_lanes(segment - reference);
    store(total, now);
    store(total + kLanes, load(total + kLanes) * a + load(sum) * b);
    for (std::int32_t d = 0; d < out_width; d += kLanes) {
        float* to = total + 2 * kLanes + d;
        store(to, load(to) * a + load(out + d) * b);
    }
}

HEARTH_INLINE void end_segment(AttentionState& s) {
    for (std::int32_t i = 0; i < s.vectors; ++i) {
        add_segment(s.total + static_cast<std::ptrdiff_t>(i) * partial_floats(s.head_dim), s.max[i],
                    s.sum + i * kLanes, s.out + static_cast<std::ptrdiff_t>(i) * s.out_width,
                    s.out_width);
    }
}

// What the whole context comes to, to its place in the output.
HEARTH_INLINE void write_out(const AttendTask& task, const Place& place, const float* total) {
    const std::int32_t head_dim = task.call->kv.head_dim;
    const auto row = static_cast<std::ptrdiff_t>(task.run->first_row) + place.row;
    float* out = task.out + row * task.stride + place.head * head_dim;
    const float inverse = 1.0f / sum_lanes(load(total + kLanes));
    const float* from = total + 2 * kLanes;
    std::int32_t d = 0;
    for (; d + kLanes <= head_dim; d += kLanes) store(out + d, load(from + d) * inverse);
    for (; d < head_dim; ++d) out[d] = from[d] * inverse;
}

// The first position that a row may attend.
HEARTH_INLINE std::int32_t oldest_of(const AttentionCall& call, std::int32_t position) {
    return call.window == 0 || position < call.window ? 0 : position - call.window + 1;
}

HEARTH_INLINE void gather_queries(const AttendTask& task, AttentionState& s) {
    const AttentionCall& call = *task.call;
    for (std::int32_t i = 0; i < s.vectors; ++i) {
        const Place place = place_of(task, s, i);
        const auto at =
            (static_cast<std::ptrdiff_t>(task.run->first_row) + place.row) * call.heads +
            place.head;
        std::memcpy(s.q + static_cast<std::ptrdiff_t>(i) * s.head_dim, task.q->q + at * s.head_dim,
                    static_cast<std::size_t>(s.head_dim));
        s.q_scale[i] = task.q->scale[at];
        s.q_sum[i] = task.q->sum[at];
        s.position[i] = task.run->start + place.row;
        s.oldest[i] = oldest_of(call, s.position[i]);
        clear_partial(s.total + static_cast<std::ptrdiff_t>(i) * partial_floats(s.head_dim),
                      s.out_width);
    }
}

HEARTH_INLINE NextBlock block_at(const AttendTask& task, std::int32_t page, std::int32_t head) {
    const AttentionCall& call = *task.call;
    const std::byte* at = task.run->pages[page] + call.kv.block(call.kv_bank, head);
    return {at, at + call.kv.head_bytes()};
}

// The pages that a task's rows attend, as far as they are in its segments.
struct PageRange {
    std::int32_t begin, end;
};
HEARTH_INLINE PageRange pages_of(const AttendTask& task) {
    const std::int32_t oldest = oldest_of(*task.call, task.run->start + task.row_begin);
    const std::int32_t newest = task.run->start + task.row_end - 1;
    PageRange range = {oldest / kPageTokens, newest / kPageTokens + 1};
    if (task.segment < 0) return range;
    const std::int32_t first = task.segment * kAttendSegment, last = first + kAttendSegment;
    return {range.begin > first ? range.begin : first, range.end < last ? range.end : last};
}

// What the thread works on after this page and head: the next head, page or task.
HEARTH_INLINE NextBlock block_after(const AttendTask& task, std::int32_t page, std::int32_t head,
                                    const PageRange& range) {
    if (head + 1 < task.head_end) return block_at(task, page, head + 1);
    if (page + 1 < range.end) return block_at(task, page + 1, task.head_begin);
    if (task.next == nullptr) return {};
    return block_at(*task.next, pages_of(*task.next).begin, task.next->head_begin);
}

// K of `keys` tokens into packed blocks, both scales into aligned arrays.
HEARTH_INLINE void read_keys(const AttentionCall& call, AttentionState& s, const std::byte* page,
                             std::int32_t head, std::int32_t keys) {
    const auto* k =
        reinterpret_cast<const std::int8_t*>(page + call.kv.k_offset(call.kv_bank, head));
    for (std::int32_t key = 0; key < keys; key += kLanes) {
        s.next.fetch(s.head_dim / kPageBlocks);  // Its K, which is wanted before its V.
        const std::ptrdiff_t at = static_cast<std::ptrdiff_t>(key) * s.head_dim;
        pack_keys(k + at, s.head_dim, 1, s.k + at);
    }
    std::memcpy(s.k_scale, page + call.kv.k_scale_offset(call.kv_bank, head),
                kPageTokens * sizeof(float));
    std::memcpy(s.v_scale, page + call.kv.v_scale_offset(call.kv_bank, head),
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

// Largest score of vector i in this page; masks the scores.
HEARTH_INLINE float max_of_page(AttentionState& s, std::int32_t i, std::int32_t first_position) {
    float* p = s.p + i * kPageTokens;
    Floats largest = splat(kMinusInfinity);
#pragma GCC unroll 4
    for (std::int32_t b = 0; b < kPageBlocks; ++b) {
        const std::int32_t position = first_position + b * kLanes;
        const Floats score = masked(load(p + b * kLanes), position, s.oldest[i], s.position[i]);
        if (position < s.oldest[i] || position + kLanes - 1 > s.position[i])
            store(p + b * kLanes, score);
        largest = max(score, largest);
    }
    return max_lanes(largest);
}

// Turns the scores of vector i into probabilities times V scale; updates the sum.
HEARTH_INLINE void exponents_of_page(AttentionState& s, std::int32_t i) {
    float* p = s.p + i * kPageTokens;
    // Minus infinity: no key so far, because the window starts on a later page.
    const float reference = s.max[i] == kMinusInfinity ? 0.0f : s.max[i];
    Floats sum = load(s.sum + i * kLanes) * s.alpha[i];
    unrolled<kPageBlocks>([&](std::size_t b) HEARTH_FLAT {
        const Floats e = exp2_lanes(load(p + b * kLanes) - reference);
        sum = sum + e;
        // A masked key's scale may be garbage that was never written: select, do not multiply.
        store(p + b * kLanes, where_above(e, 0.0f, e * load(s.v_scale + b * kLanes)));
    });
    store(s.sum + i * kLanes, sum);
}

// The softmax of all vectors over this page: first all maxima, then what they scale the past by,
// then the exponents, because each step is long in itself and waits for the one before.
HEARTH_INLINE void softmax_page(AttentionState& s, std::int32_t begin, std::int32_t end,
                                std::int32_t first_position) {
    for (std::int32_t i = begin; i < end; i += kLanes) {
        const std::int32_t n = end - i < kLanes ? end - i : kLanes;
        float page_max[kLanes] = {}, alpha[kLanes], largest[kLanes];
        for (std::int32_t j = 0; j < n; ++j) page_max[j] = max_of_page(s, i + j, first_position);
        const Floats before = load(s.max + i);
        const Floats now = max(load(page_max), before);
        // Where both are minus infinity the past is zeros, whatever it is scaled by.
        const Floats reference = max(now, splat(kLeastScore));
        store(alpha, exp2_lanes(before - reference));
        store(largest, now);
        for (std::int32_t j = 0; j < n; ++j) {
            s.alpha[i + j] = alpha[j];
            s.max[i + j] = largest[j];
        }
        for (std::int32_t j = 0; j < n; ++j) exponents_of_page(s, i + j);
    }
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
    constexpr std::int32_t kKeys = 8;  // Between one burst of prefetches and the next.
    const std::ptrdiff_t lines = (s.next.end - s.next.at) / 64 * kKeys / keys + 1;
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
        if (j % kKeys == 0) s.next.fetch(lines);
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
HEARTH_INLINE void add_values(AttentionState& s, std::int32_t i, std::int32_t end,
                              const Values& values, std::int32_t keys) {
    for (; i + kValueRows <= end; i += kValueRows) value_rows<kValueRows>(s, i, values, keys);
    if (end - i == 3) return value_rows<3>(s, i, values, keys);
    if (end - i == 2) return value_rows<2>(s, i, values, keys);
    if (end - i == 1) return value_rows<1>(s, i, values, keys);
}

// One page of one KV head.
HEARTH_INLINE void add_block(const AttendTask& task, AttentionState& s, std::int32_t page_index,
                             std::int32_t head, std::int32_t keys) {
    const AttentionCall& call = *task.call;
    const std::byte* page = task.run->pages[page_index];
    const std::int32_t begin = (head - task.head_begin) * s.per_head, end = begin + s.per_head;
    read_keys(call, s, page, head, keys);
    std::int32_t i = begin;
    for (; i + kTileRows <= end; i += kTileRows) score_tile<kTileRows>(s, i);
    for (; i + 3 <= end; i += 3) score_tile<3>(s, i);
    for (; i < end; ++i) score_tile<1>(s, i);
    // Scores are in base 2 here, and so is the cap.
    if (call.softcap > 0.0f) {
        soft_cap_row(call.softcap * kLog2E, s.p + begin * kPageTokens, s.per_head * kPageTokens);
    }
    softmax_page(s, begin, end, page_index * kPageTokens);
    const auto* v =
        reinterpret_cast<const std::int8_t*>(page + call.kv.v_offset(call.kv_bank, head));
    if (s.per_head <= kValueRows && s.head_dim == s.out_width)
        return add_values(s, begin, end, ByteValues{v, s.head_dim}, keys);
    read_values(s, v, keys);
    add_values(s, begin, end, FloatValues{s.v, s.out_width}, keys);
}

AttentionState state_of(const AttendTask& task) {
    AttentionState s = {};
    s.per_head = (task.row_end - task.row_begin) * group_of(*task.call);
    s.vectors = (task.head_end - task.head_begin) * s.per_head;
    s.head_dim = task.call->kv.head_dim;
    s.out_width = round_up(s.head_dim, kLanes);
    lay_out(s, task.scratch);
    return s;
}

void attend(const AttendTask& task) {
    AttentionState s = state_of(task);
    gather_queries(task, s);
    const PageRange range = pages_of(task);
    const std::int32_t newest = task.run->start + task.row_end - 1;
    begin_segment(s);
    for (std::int32_t page = range.begin; page < range.end; ++page) {
        const std::int32_t left = newest + 1 - page * kPageTokens;
        const std::int32_t keys = left < kPageTokens ? left : kPageTokens;
        for (std::int32_t head = task.head_begin; head < task.head_end; ++head) {
            s.next = block_after(task, page, head, range);
            add_block(task, s, page, head, keys);
        }
        if ((page + 1) % kAttendSegment != 0 && page + 1 != range.end) continue;
        end_segment(s);
        if (page + 1 != range.end) begin_segment(s);
    }
    const std::ptrdiff_t floats = partial_floats(s.head_dim);
    if (task.partial != nullptr) {
        std::memcpy(task.partial, s.total,
                    static_cast<std::size_t>(s.vectors * floats) * sizeof(float));
        return;
    }
    for (std::int32_t i = 0; i < s.vectors; ++i)
        write_out(task, place_of(task, s, i), s.total + i * floats);
}

// The segments' results in the order of positions, as attend() would have added them.
void combine(const AttendTask& task, std::int32_t segments) {
    AttentionState s = state_of(task);
    const std::ptrdiff_t floats = partial_floats(s.head_dim);
    for (std::int32_t i = 0; i < s.vectors; ++i) {
        clear_partial(s.total, s.out_width);
        for (std::int32_t segment = 0; segment < segments; ++segment) {
            const float* from = task.partial + (segment * s.vectors + i) * floats;
            add_segment(s.total, from[0], from + kLanes, from + 2 * kLanes, s.out_width);
        }
        write_out(task, place_of(task, s, i), s.total);
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
    combine,
    attend_scratch,
    probe_products,
};

}  // namespace
