// attention_kernels.h: attention over int8 KV pages on tensor cores: QK in int8, PV in half
// precision with float sums. Probabilities, relative to the largest V scale of the page, are two
// halves each, what they are and what is left: 22 bits. With 11 bits 7 of 20 greedy texts of 64
// tokens were the CPU's, with 22 they part about as often as those of `ref` do.
#pragma once

#include "engine/kernels/cuda/kv_kernels.h"
#include "engine/kernels/cuda/mma_layout.h"

namespace hearth::engine::cuda {

// Pages of a segment, cut by absolute position. A page's result is made by itself, pages of a
// segment are added in order, and so are segments: a row's result does not depend on what else is
// computed with it, nor on whether one block or many go over its context.
constexpr int kSegmentPages = 8;
constexpr int kTileVectors = 16;  // Query vectors of a warp's tile: rows times heads of a group.

// A tile of query vectors of one KV head and the pages that it goes over. Vector v of a run is its
// row v / group and head v % group of the KV head's group. Written by the planner.
struct AttendItem {
    std::int32_t first_row, rows, start;  // Of the run: global row, rows, position of the first.
    std::int32_t pages_at;
    std::int32_t kv_head;
    std::int32_t vector;  // First vector of the tile.
    std::int32_t page_begin, page_end;
    std::int32_t partial;  // -1: writes `out`; else partial + head * segments takes the result.
    std::int32_t segments;
};

// A row of split attention: partials first + head * segments + i for i in order.
struct CombineItem {
    std::int32_t row, first, segments;
};

struct AttendArgs {
    const AttendItem* items;
    const std::int32_t* item_count;  // On the device: graphs have room for more.
    RowTables rows;
    BankView kv;
    QuantHeads q;
    std::int32_t heads, group, window;
    float softcap;  // In base 2; 0 = none.
    float* out;     // [rows][stride]
    std::int32_t stride;
    float* partials;  // [slots][2 + head_dim]: largest score, sum, values.
};

// The result of the segments or pages before, and the next one's share in it (Milakov and
// Gimelshein 2018): total = total * before + next * after.
struct Blend {
    float largest, before, after;
};
template <class B>
HEARTH_KERNEL Blend blend(float before, float next) {
    const float largest = fmaxf(before, next), reference = fmaxf(largest, kLeastScore);
    return {largest, B::exp2_of(before - reference), B::exp2_of(next - reference)};
}

// kDim: head_dim rounded up to what is built; kOut: dimensions of V that a block takes, block.z
// says which; kWarps tiles of vectors share the pages that a block loads.
template <int kDim, int kOut, int kWarps>
struct AttendKernel {
    static constexpr int kThreads = kWarps * kWarp;
    static constexpr int kOutDims = kOut;
    static constexpr int kStride = kDim + 16, kVStride = kOut + 16;  // Without bank conflicts.
    static constexpr int kKeys = kPageTokens / 8;                    // Tiles of 8 keys.
    static constexpr int kGroups = kOut / 16;                        // Of 16 dimensions of V.
    static constexpr int kKBytes = kPageTokens * kStride, kVBytes = kPageTokens * kVStride;
    static constexpr int kScaleBytes = kPageTokens * 4;
    static constexpr int kPageBytes = kKBytes + kVBytes + 2 * kScaleBytes;
    static constexpr int kQBytes = kWarps * kTileVectors * kStride;
    static constexpr int kTotal = kOut + 2;  // Floats of a vector's result over segments.
    static constexpr std::size_t kTotalBytes = sizeof(float) * kWarps * kTileVectors * kTotal;
    static constexpr std::size_t kShared = 2u * kPageBytes + kQBytes + kTotalBytes;

    AttendArgs a;

    template <class B>
    HEARTH_KERNEL void run(B& block) const {
        if (block.x >= *a.item_count) return;
        const AttendItem item = a.items[block.x];
        std::byte* pages = block.shared;
        std::byte* queries = pages + 2 * kPageBytes;
        auto* totals = reinterpret_cast<float*>(queries + kQBytes);
        State<B> s;
        begin(block, s, item, pages, queries, totals);
        load_page(block, item, item.page_begin, pages);
        block.end_of_batch();
        for (int page = item.page_begin; page < item.page_end; ++page) {
            const int odd = (page - item.page_begin) % 2;
            std::byte* here = pages + odd * kPageBytes;
            if (page + 1 < item.page_end)
                load_page(block, item, page + 1, pages + (1 - odd) * kPageBytes);
            block.end_of_batch();
            block.template wait_batches<1>();
            block.sync();
            add_page(block, s, page, here, queries);
            block.sync();  // Before this buffer is loaded anew.
            if ((page + 1) % kSegmentPages == 0 || page + 1 == item.page_end)
                end_segment(block, s, totals);
        }
        finish(block, s, item, totals);
    }

  private:
    // What a thread keeps: of vectors lane / 4 and lane / 4 + 8 of its warp's tile.
    template <class B>
    struct State {
        Own<B, int[2]> position, oldest;
        Own<B, float[2]> q_scale, largest, sum;
        Own<B, float[kGroups][2][4]> out;  // [dims / 16][even, odd][c_place]
    };

    HEARTH_KERNEL static float* total_of(float* totals, int t, int half) {
        return totals + (t / kWarp * kTileVectors + t % kWarp / 4 + half * 8) * kTotal;
    }
    HEARTH_KERNEL int vector_of(const AttendItem& item, int t, int half) const {
        return item.vector + t / kWarp * kTileVectors + t % kWarp / 4 + half * 8;
    }

    template <class B>
    HEARTH_KERNEL static void clear_segment(B& block, State<B>& s) {
        block.each([&](int t) {
            HEARTH_UNROLL
            for (int half = 0; half < 2; ++half) {
                s.largest[t][half] = kNoScore;
                s.sum[t][half] = 0.0f;
            }
            HEARTH_UNROLL
            for (int g = 0; g < kGroups; ++g) {
                HEARTH_UNROLL
                for (int i = 0; i < 8; ++i) s.out[t][g][i / 4][i % 4] = 0.0f;
            }
        });
    }

    // Queries to shared memory; zeros where dimensions or vectors are only padding.
    template <class B>
    HEARTH_KERNEL void begin(B& block, State<B>& s, const AttendItem& item, std::byte* pages,
                             std::byte* queries, float* totals) const {
        const int vectors = item.rows * a.group;
        block.each([&](int t) {
            for (int i = t; i < 2 * kPageBytes / 4 && a.kv.head_dim < kDim; i += kThreads)
                reinterpret_cast<std::uint32_t*>(pages)[i] = 0;
            for (int i = t; i < kWarps * kTileVectors * (kDim / 4); i += kThreads) {
                const int tile_vector = i / (kDim / 4), d = i % (kDim / 4) * 4;
                const int v = item.vector + tile_vector;
                std::uint32_t word = 0;
                if (v < vectors && d < a.kv.head_dim) {
                    const std::ptrdiff_t at =
                        std::ptrdiff_t{item.first_row + v / a.group} * a.heads +
                        item.kv_head * a.group + v % a.group;
                    word = *reinterpret_cast<const std::uint32_t*>(a.q.q + at * a.kv.head_dim + d);
                }
                *reinterpret_cast<std::uint32_t*>(queries + tile_vector * kStride + d) = word;
            }
            HEARTH_UNROLL
            for (int half = 0; half < 2; ++half) {
                const int v = vector_of(item, t, half);
                const bool real = v < vectors;
                const int row = real ? v / a.group : 0;
                const int position = real ? item.start + row : -1;
                const std::ptrdiff_t at = std::ptrdiff_t{item.first_row + row} * a.heads +
                                          item.kv_head * a.group + v % a.group;
                s.position[t][half] = position;
                s.oldest[t][half] =
                    a.window == 0 || position < a.window ? 0 : position - a.window + 1;
                s.q_scale[t][half] = real ? a.q.scale[at] : 0.0f;
                float* total = total_of(totals, t, half);
                for (int i = t % 4; i < kTotal; i += 4) total[i] = i == 0 ? kNoScore : 0.0f;
            }
        });
        block.sync();
        clear_segment(block, s);
    }

    template <class B>
    HEARTH_KERNEL void load_page(B& block, const AttendItem& item, int page, std::byte* to) const {
        const std::byte* from = a.rows.pages[item.pages_at + page];
        const std::byte* k = from + a.kv.k_at(item.kv_head);
        const std::byte* v = from + a.kv.v_at(item.kv_head);
        const std::byte* scales = from + a.kv.k_scale_at(item.kv_head);
        const int dim = a.kv.head_dim, first = block.z * kOut;
        const int out = dim - first < kOut ? dim - first : kOut;
        block.each([&](int t) {
            load_rows(block, t, to, k, dim, dim, kStride);
            load_rows(block, t, to + kKBytes, v + first, dim, out, kVStride);
            std::byte* scales_to = to + kKBytes + kVBytes;
            for (int i = t; i < 2 * kScaleBytes / 16; i += kThreads)
                block.copy_ahead(scales_to + i * 16, scales + i * 16, true);
        });
    }

    // 64 rows of `bytes`, `apart` bytes from row to row where they come from.
    template <class B>
    HEARTH_KERNEL static void load_rows(B& block, int t, std::byte* to, const std::byte* from,
                                        int apart, int bytes, int stride) {
        if (apart % 16 == 0) {
            const int pieces = bytes / 16;
            for (int i = t; i < kPageTokens * pieces; i += kThreads) {
                const int row = i / pieces, at = i % pieces * 16;
                block.copy_ahead(to + row * stride + at, from + row * apart + at, true);
            }
            return;
        }
        const int words = bytes / 4;
        for (int i = t; i < kPageTokens * words; i += kThreads) {
            const int row = i / words, at = i % words * 4;
            *reinterpret_cast<std::uint32_t*>(to + row * stride + at) =
                *reinterpret_cast<const std::uint32_t*>(from + row * apart + at);
        }
    }

    // Dot products of the warp's vectors with the page's 64 keys.
    template <class B>
    HEARTH_KERNEL static void multiply_keys(B& block, const std::byte* keys,
                                            const std::byte* queries,
                                            Own<B, std::int32_t[kKeys][4]>& dots) {
        block.each([&](int t) {
            HEARTH_UNROLL
            for (int i = 0; i < kKeys * 4; ++i) dots[t][i / 4][i % 4] = 0;
        });
        HEARTH_UNROLL
        for (int d = 0; d < kDim; d += 32) {
            Own<B, std::uint32_t[4]> q, k;
            block.load_matrices(q, [&](int t) {
                const int lane = t % kWarp, matrix = lane / 8;
                const int row = t / kWarp * kTileVectors + matrix % 2 * 8 + lane % 8;
                return queries + row * kStride + d + matrix / 2 * 16;
            });
            HEARTH_UNROLL
            for (int key = 0; key < kKeys; key += 2) {
                block.load_matrices(k, [&](int t) {
                    const int lane = t % kWarp, matrix = lane / 8;
                    const int row = (key + matrix / 2) * 8 + lane % 8;
                    return keys + row * kStride + d + matrix % 2 * 16;
                });
                block.multiply_bytes([&](int t) {
                    return ByteProduct{dots[t][key], q[t], {k[t][0], k[t][1]}};
                });
                block.multiply_bytes([&](int t) {
                    return ByteProduct{dots[t][key + 1], q[t], {k[t][2], k[t][3]}};
                });
            }
        }
    }

    // Scores from dots, masked; their largest, and the largest V scale that counts, of each vector.
    template <class B>
    HEARTH_KERNEL void score(B& block, const State<B>& s, int page, const float* scales,
                             const Own<B, std::int32_t[kKeys][4]>& dots, Own<B, float[kKeys][4]>& p,
                             Own<B, float> (&largest)[2], Own<B, float> (&v_scale)[2]) const {
        block.each([&](int t) {
            HEARTH_UNROLL
            for (int half = 0; half < 2; ++half) {
                largest[half][t] = kNoScore;
                v_scale[half][t] = 0.0f;
            }
            HEARTH_UNROLL
            for (int key = 0; key < kKeys; ++key) {
                HEARTH_UNROLL
                for (int i = 0; i < 4; ++i) {
                    const int half = i / 2, j = key * 8 + c_place(t % kWarp, i).column;
                    const int position = page * kPageTokens + j;
                    float x = static_cast<float>(dots[t][key][i]) * s.q_scale[t][half] * scales[j];
                    if (a.softcap > 0.0f) x = soft_capped(a.softcap, x);
                    const bool seen =
                        position >= s.oldest[t][half] && position <= s.position[t][half];
                    p[t][key][i] = seen ? x : kNoScore;
                    if (!seen) continue;
                    largest[half][t] = fmaxf(largest[half][t], x);
                    v_scale[half][t] = fmaxf(v_scale[half][t], scales[kPageTokens + j]);
                }
            }
        });
        HEARTH_UNROLL
        for (int half = 0; half < 2; ++half) {
            warp_max<2>(block, largest[half]);
            warp_max<2>(block, v_scale[half]);
        }
    }

    // p becomes probability * V scale / largest V scale, at most 1; `sum` the probabilities' sum.
    template <class B>
    HEARTH_KERNEL static void weigh(B& block, const float* scales, Own<B, float[kKeys][4]>& p,
                                    const Own<B, float> (&largest)[2],
                                    const Own<B, float> (&v_scale)[2], Own<B, float> (&sum)[2]) {
        block.each([&](int t) {
            HEARTH_UNROLL
            for (int half = 0; half < 2; ++half) {
                const float reference = fmaxf(largest[half][t], kLeastScore);
                const float inverse = v_scale[half][t] > 0.0f ? 1.0f / v_scale[half][t] : 0.0f;
                sum[half][t] = 0.0f;
                HEARTH_UNROLL
                for (int key = 0; key < kKeys; ++key) {
                    HEARTH_UNROLL
                    for (int i = half * 2; i < half * 2 + 2; ++i) {
                        const int j = key * 8 + c_place(t % kWarp, i).column;
                        const float e = B::exp2_of(p[t][key][i] - reference);
                        sum[half][t] = sum[half][t] + e;
                        // A masked key's scale may be rubbish that was never written: select.
                        p[t][key][i] = e > 0.0f ? e * (scales[kPageTokens + j] * inverse) : 0.0f;
                    }
                }
            }
        });
        HEARTH_UNROLL
        for (int half = 0; half < 2; ++half) warp_sum<2, 0, B, float>(block, sum[half]);
    }

    template <class B>
    HEARTH_KERNEL void add_page(B& block, State<B>& s, int page, const std::byte* here,
                                const std::byte* queries) const {
        const auto* scales = reinterpret_cast<const float*>(here + kKBytes + kVBytes);
        Own<B, std::int32_t[kKeys][4]> dots;
        multiply_keys(block, here, queries, dots);
        Own<B, float[kKeys][4]> p;
        Own<B, float> largest[2], v_scale[2], sum[2];
        score(block, s, page, scales, dots, p, largest, v_scale);
        weigh(block, scales, p, largest, v_scale, sum);
        Own<B, std::uint32_t[kPageTokens / 16][4]> halves, rests;
        Own<B, float[2]> before, after;
        block.each([&](int t) {
            HEARTH_UNROLL
            for (int i = 0; i < kPageTokens / 16 * 4; ++i) {
                const float* two = p[t][i / 4 * 2 + i % 4 / 2] + i % 2 * 2;
                const std::uint32_t both = B::pack_halves(two[0], two[1]);
                halves[t][i / 4][i % 4] = both;
                rests[t][i / 4][i % 4] =
                    B::pack_halves(two[0] - B::low_half(both), two[1] - B::high_half(both));
            }
            HEARTH_UNROLL
            for (int half = 0; half < 2; ++half) {
                const Blend b = blend<B>(s.largest[t][half], largest[half][t]);
                s.largest[t][half] = b.largest;
                s.sum[t][half] = s.sum[t][half] * b.before + sum[half][t] * b.after;
                before[t][half] = b.before;
                after[t][half] = b.after * v_scale[half][t];
            }
        });
        HEARTH_UNROLL
        for (int g = 0; g < kGroups; ++g)
            add_values(block, s, g, here + kKBytes, halves, rests, before, after);
    }

    // out = out * before + (P V) * after for 16 dimensions, even and odd ones apart: so V's bytes,
    // two dimensions of a key to each half word, need no other transposition than ldmatrix'.
    template <class B>
    HEARTH_KERNEL static void add_values(B& block, State<B>& s, int g, const std::byte* values,
                                         const Own<B, std::uint32_t[kPageTokens / 16][4]>& halves,
                                         const Own<B, std::uint32_t[kPageTokens / 16][4]>& rests,
                                         const Own<B, float[2]>& before,
                                         const Own<B, float[2]>& after) {
        Own<B, float[2][4]> acc;
        block.each([&](int t) {
            HEARTH_UNROLL
            for (int i = 0; i < 8; ++i) acc[t][i / 4][i % 4] = 0.0f;
        });
        HEARTH_UNROLL
        for (int key = 0; key < kPageTokens; key += 32) {
            Own<B, std::uint32_t[4]> v;
            block.load_transposed(
                v, [&](int t) { return values + (key + t % kWarp) * kVStride + g * 16; });
            HEARTH_UNROLL
            for (int step = 0; step < 2; ++step) {
                for (const auto* p : {&rests, &halves}) {
                    block.multiply_halves([&](int t) {
                        return HalfProduct{acc[t][0],
                                           (*p)[t][key / 16 + step],
                                           {B::template halves_of_bytes<0>(v[t][2 * step]),
                                            B::template halves_of_bytes<0>(v[t][2 * step + 1])}};
                    });
                    block.multiply_halves([&](int t) {
                        return HalfProduct{acc[t][1],
                                           (*p)[t][key / 16 + step],
                                           {B::template halves_of_bytes<1>(v[t][2 * step]),
                                            B::template halves_of_bytes<1>(v[t][2 * step + 1])}};
                    });
                }
            }
        }
        block.each([&](int t) {
            HEARTH_UNROLL
            for (int i = 0; i < 8; ++i) {
                const int half = i % 4 / 2;
                float& out = s.out[t][g][i / 4][i % 4];
                out = out * before[t][half] + acc[t][i / 4][i % 4] * after[t][half];
            }
        });
    }

    // Dimension of V that s.out[g][odd][i] is, of those of this block.
    HEARTH_KERNEL static int dim_of(int g, int odd, int i, int t) {
        return g * 16 + 2 * c_place(t % kWarp, i).column + odd;
    }

    // Adds the segment to the total of those before it, and begins the next.
    template <class B>
    HEARTH_KERNEL static void end_segment(B& block, State<B>& s, float* totals) {
        block.each([&](int t) {
            HEARTH_UNROLL
            for (int half = 0; half < 2; ++half) {
                float* total = total_of(totals, t, half);
                const Blend b = blend<B>(total[0], s.largest[t][half]);
                HEARTH_UNROLL
                for (int g = 0; g < kGroups; ++g) {
                    HEARTH_UNROLL
                    for (int i = 0; i < 4; ++i) {
                        const int odd = i / 2, at = half * 2 + i % 2;
                        float& to = total[2 + dim_of(g, odd, at, t)];
                        to = to * b.before + s.out[t][g][odd][at] * b.after;
                    }
                }
                s.sum[t][half] = total[1] * b.before + s.sum[t][half] * b.after;
                s.largest[t][half] = b.largest;
            }
        });
        block.sync();  // All four lanes of a vector have read what one of them writes now.
        block.each([&](int t) {
            if (t % 4 != 0) return;
            HEARTH_UNROLL
            for (int half = 0; half < 2; ++half) {
                float* total = total_of(totals, t, half);
                total[0] = s.largest[t][half];
                total[1] = s.sum[t][half];
            }
        });
        block.sync();
        clear_segment(block, s);
    }

    template <class B>
    HEARTH_KERNEL void finish(B& block, const State<B>& s, const AttendItem& item,
                              float* totals) const {
        const int first = block.z * kOut;
        block.each([&](int t) {
            HEARTH_UNROLL
            for (int half = 0; half < 2; ++half) {
                const int v = vector_of(item, t, half);
                if (s.position[t][half] < 0 || v >= item.rows * a.group) continue;
                const float* total = total_of(totals, t, half);
                const int head = item.kv_head * a.group + v % a.group;
                const bool whole = item.partial < 0;
                float* to = a.out + std::ptrdiff_t{item.first_row + v / a.group} * a.stride +
                            head * a.kv.head_dim + first;
                if (!whole) {
                    float* slot =
                        a.partials +
                        (item.partial + std::ptrdiff_t{head} * item.segments) * (2 + a.kv.head_dim);
                    if (t % 4 == 0) {
                        slot[0] = total[0];
                        slot[1] = total[1];
                    }
                    to = slot + 2 + first;
                }
                const float factor = whole ? 1.0f / total[1] : 1.0f;
                for (int d = t % 4; d < kOut && first + d < a.kv.head_dim; d += 4)
                    to[d] = total[2 + d] * factor;
            }
        });
    }
};

// Adds the segments of a row and head in order, as AttendKernel does within a block.
struct CombineKernel {
    static constexpr int kThreads = 128;
    const CombineItem* items;
    const std::int32_t* item_count;
    const float* partials;
    float* out;
    std::int32_t stride, head_dim;

    template <class B>
    HEARTH_KERNEL void run(B& block) const {
        if (block.x >= *item_count) return;
        const CombineItem item = items[block.x];
        const float* from =
            partials + (item.first + std::ptrdiff_t{block.y} * item.segments) * (2 + head_dim);
        float* to = out + std::ptrdiff_t{item.row} * stride + block.y * head_dim;
        block.each([&](int t) {
            for (int d = t; d < head_dim; d += kThreads) {
                float largest = kNoScore, sum = 0.0f, value = 0.0f;
                for (int i = 0; i < item.segments; ++i) {
                    const float* next = from + std::ptrdiff_t{i} * (2 + head_dim);
                    const Blend b = blend<B>(largest, next[0]);
                    largest = b.largest;
                    sum = sum * b.before + next[1] * b.after;
                    value = value * b.before + next[2 + d] * b.after;
                }
                to[d] = value * (1.0f / sum);
            }
        });
    }
};

}  // namespace hearth::engine::cuda
