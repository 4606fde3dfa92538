// kv_kernels.h: K and V of new tokens into their pages, and bytes of pages from one tier to
// another.
#pragma once

#include "engine/kernels/cuda/row_kernels.h"

namespace hearth::engine::cuda {

// Where one bank lies in a page: KvLayout (model/kv_layout.h) in numbers that a kernel can add up.
struct BankView {
    std::int64_t bank = 0;        // Bytes from the page's begin to the bank's first head.
    std::int64_t head_bytes = 0;  // From one head's block to the next.
    std::int32_t head_dim = 0;
    std::int32_t kv_heads = 0;

    static BankView of(const KvLayout& kv, std::int32_t bank) {
        return {static_cast<std::int64_t>(kv.block(bank, 0)),
                static_cast<std::int64_t>(kv.head_bytes()), kv.head_dim, kv.kv_heads};
    }
    HEARTH_BOTH std::int64_t k_at(int head) const { return bank + head * head_bytes; }
    HEARTH_BOTH std::int64_t v_at(int head) const {
        return k_at(head) + std::int64_t{kPageTokens} * head_dim;
    }
    HEARTH_BOTH std::int64_t k_scale_at(int head) const {
        return k_at(head) + std::int64_t{2 * kPageTokens} * head_dim;
    }
    HEARTH_BOTH std::int64_t v_scale_at(int head) const {
        return k_scale_at(head) + kPageTokens * std::int64_t{sizeof(float)};
    }
};

// What a pass tells of its rows, in device memory. Rows that only fill a graph's bucket have
// position -1: they are computed from rubbish, write to no page and attend nothing.
struct RowTables {
    const std::int32_t* position;  // [rows]
    const std::int32_t* pages_at;  // [rows]: index of its sequence's first page in `pages`
    std::byte* const* pages;       // Device pages of all sequences
    std::byte* const* host_pages;  // The same pages where their caller has them
};

// Angles on the device.
struct RopeView {
    const float* cosine;  // [positions][pairs]
    const float* sine;
    std::int32_t pairs;
    bool halves;
};

// RoPE and quantisation of Q, K and V; a warp takes a head. Shared: kWarps heads as floats.
struct RopeQuantizeKernel {
    static constexpr int kThreads = 128;
    static constexpr int kWarps = kThreads / kWarp;
    RowTables rows;
    RopeView rope;
    BankView kv;
    const float* qkv;
    std::int32_t stride, k_first, v_first;  // Floats of a row, and where K and V begin in it.
    std::int32_t heads;
    bool writes_kv;
    float score_factor;      // Of Q's scale: score_scale * log2(e), since softmax is in base 2.
    const float* key_shift;  // [kv_heads][head_dim] or null.
    QuantHeads q;

    Grid grid(std::int32_t count) const {
        const std::int32_t all = heads + (writes_kv ? 2 * kv.kv_heads : 0);
        return {count, (all + kWarps - 1) / kWarps, 1,
                kWarps * static_cast<std::size_t>(kv.head_dim) * sizeof(float)};
    }

    template <class B>
    HEARTH_KERNEL void run(B& block) const {
        auto* shared = reinterpret_cast<float*>(block.shared);
        const int position = rows.position[block.x];
        Own<B, float> largest;
        Own<B, int> sum;
        block.each([&](int t) {
            const int head = block.y * kWarps + t / kWarp;
            float* x = shared + t / kWarp * kv.head_dim;
            if (head < all_heads()) turn(x, head, position, block.x, t % kWarp);
        });
        block.sync();
        block.each([&](int t) {
            const float* x = shared + t / kWarp * kv.head_dim;
            largest[t] = 0.0f;
            for (int i = t % kWarp; i < kv.head_dim; i += kWarp)
                largest[t] = fmaxf(largest[t], fabsf(x[i]));
        });
        warp_max<kWarp / 2>(block, largest);
        block.each([&](int t) {
            const int head = block.y * kWarps + t / kWarp;
            sum[t] = 0;
            if (head >= all_heads()) return;
            const Target to = target(block.x, head, position);
            if (to.q == nullptr) return;
            const bool zero = !(largest[t] >= kAbsmaxMin);
            const float inverse = zero ? 0.0f : 127.0f / largest[t];
            const float* x = shared + t / kWarp * kv.head_dim;
            for (int i = t % kWarp; i < kv.head_dim; i += kWarp) {
                const float v = B::round_even(x[i] * inverse);
                const int rounded = static_cast<int>(fminf(fmaxf(v, -127.0f), 127.0f));
                to.q[i] = static_cast<std::int8_t>(rounded);
                sum[t] += rounded;
            }
            if (t % kWarp == 0) *to.scale = zero ? 0.0f : largest[t] / 127.0f * to.factor;
        });
        warp_sum<kWarp / 2, 0, B, int>(block, sum);
        block.each([&](int t) {
            const int head = block.y * kWarps + t / kWarp;
            if (head < heads && t % kWarp == 0) q.sum[block.x * heads + head] = sum[t];
        });
    }

  private:
    struct Target {
        std::int8_t* q;
        float* scale;
        float factor;
    };

    HEARTH_KERNEL int all_heads() const { return heads + (writes_kv ? 2 * kv.kv_heads : 0); }

    // This lane's pairs of the head, turned by the position's angles; the rest as it is.
    HEARTH_KERNEL void turn(float* x, int head, int position, int row, int lane) const {
        const float* from = qkv + std::ptrdiff_t{row} * stride;
        const bool is_v = head >= heads + kv.kv_heads, is_q = head < heads;
        if (is_q) from += head * kv.head_dim;
        if (!is_q && !is_v) from += k_first + (head - heads) * kv.head_dim;
        if (is_v) from += v_first + (head - heads - kv.kv_heads) * kv.head_dim;
        const bool turns = !is_v && position >= 0;
        for (int i = lane; i < kv.head_dim; i += kWarp) {
            float v = from[i];
            if (turns && i < 2 * rope.pairs) {
                const int pair = rope.halves ? i % rope.pairs : i / 2;
                const bool second = rope.halves ? i >= rope.pairs : i % 2 == 1;
                const int apart = rope.halves ? rope.pairs : 1;
                const std::ptrdiff_t at = std::ptrdiff_t{position} * rope.pairs + pair;
                const float c = rope.cosine[at], s = rope.sine[at];
                v = second ? from[i - apart] * s + v * c : v * c - from[i + apart] * s;
            }
            if (key_shift != nullptr && !is_q && !is_v)
                v = v - key_shift[(head - heads) * kv.head_dim + i];
            x[i] = v;
        }
    }

    // Where a head goes; null for K and V of a row that only fills a bucket.
    HEARTH_KERNEL Target target(int row, int head, int position) const {
        if (head < heads) {
            const std::ptrdiff_t at = std::ptrdiff_t{row} * heads + head;
            return {q.q + at * kv.head_dim, q.scale + at, score_factor};
        }
        if (position < 0) return {nullptr, nullptr, 0.0f};
        std::byte* page = rows.pages[rows.pages_at[row] + position / kPageTokens];
        const int slot = position % kPageTokens, is_v = head >= heads + kv.kv_heads;
        const int kv_head = head - heads - (is_v ? kv.kv_heads : 0);
        const std::int64_t bytes = is_v ? kv.v_at(kv_head) : kv.k_at(kv_head);
        const std::int64_t scales = is_v ? kv.v_scale_at(kv_head) : kv.k_scale_at(kv_head);
        return {reinterpret_cast<std::int8_t*>(page + bytes) + slot * kv.head_dim,
                reinterpret_cast<float*>(page + scales) + slot, 1.0f};
    }
};

// Write-behind: new rows' K, V and scales of a bank to their caller's pages. A warp takes a head.
struct WriteBehindKernel {
    static constexpr int kThreads = 128;
    static constexpr int kWarps = kThreads / kWarp;
    RowTables rows;
    BankView kv;

    Grid grid(std::int32_t count) const {
        return {count, (kv.kv_heads + kWarps - 1) / kWarps, 1, 0};
    }

    template <class B>
    HEARTH_KERNEL void run(B& block) const {
        block.each([&](int t) {
            const int head = block.y * kWarps + t / kWarp, lane = t % kWarp;
            const int position = rows.position[block.x];
            if (head >= kv.kv_heads || position < 0) return;
            const int page = rows.pages_at[block.x] + position / kPageTokens;
            const int slot = position % kPageTokens;
            const std::byte* from = rows.pages[page];
            std::byte* to = rows.host_pages[page];
            const std::int64_t row = std::int64_t{slot} * kv.head_dim;
            for (int i = lane * 4; i < kv.head_dim; i += kWarp * 4) {
                copy_word(to, from, kv.k_at(head) + row + i);
                copy_word(to, from, kv.v_at(head) + row + i);
            }
            const auto scale = slot * static_cast<std::int64_t>(sizeof(float));
            if (lane == 0) copy_word(to, from, kv.k_scale_at(head) + scale);
            if (lane == 1) copy_word(to, from, kv.v_scale_at(head) + scale);
        });
    }

  private:
    HEARTH_KERNEL static void copy_word(std::byte* to, const std::byte* from, std::int64_t at) {
        *reinterpret_cast<std::uint32_t*>(to + at) =
            *reinterpret_cast<const std::uint32_t*>(from + at);
    }
};

// One piece of a batch of copies. 16-byte aligned; bytes are a multiple of 16.
struct Piece {
    std::byte* to;
    const std::byte* from;
    std::size_t bytes;
};

// A batch of copies by the multiprocessors, a block for each piece; four loads of 16 bytes under
// way in every thread. Pieces lie in device memory; what they copy may be pinned host memory.
struct CopyPiecesKernel {
    static constexpr int kThreads = 256;
    const Piece* pieces;

    struct alignas(16) Sixteen {
        std::uint32_t words[4];
    };

    template <class B>
    HEARTH_KERNEL void run(B& block) const {
        const Piece piece = pieces[block.x];
        const auto* from = reinterpret_cast<const Sixteen*>(piece.from);
        auto* to = reinterpret_cast<Sixteen*>(piece.to);
        const auto count = static_cast<int>(piece.bytes / sizeof(Sixteen));
        block.each([&](int t) {
            constexpr int kAhead = 4;
            for (int first = t; first < count; first += kThreads * kAhead) {
                Sixteen held[kAhead];
                HEARTH_UNROLL
                for (int j = 0; j < kAhead; ++j)
                    if (first + j * kThreads < count) held[j] = from[first + j * kThreads];
                HEARTH_UNROLL
                for (int j = 0; j < kAhead; ++j)
                    if (first + j * kThreads < count) to[first + j * kThreads] = held[j];
            }
        });
    }
};

}  // namespace hearth::engine::cuda
