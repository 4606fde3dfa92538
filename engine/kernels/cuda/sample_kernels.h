// sample_kernels.h: logits to tokens on the device.
#pragma once

#include "engine/kernels/cuda/row_kernels.h"

namespace hearth::engine::cuda {

// How a row's token is drawn: the largest logit, the lowest id of several; or in proportion to
// exp(logit / temperature), by numbers that follow from seed, position and token alone, so that a
// row's token depends on nothing else in its batch.
struct SampleRow {
    float inverse_temperature = 0.0f;  // 0 = the largest.
    std::uint32_t seed = 0;
    std::int32_t position = 0;
};

// A number in (0, 1) for a token: two rounds of a mixing hash (Steele et al. 2014, its finaliser).
HEARTH_BOTH float uniform_of(const SampleRow& row, std::int32_t token) {
    std::uint64_t x = std::uint64_t{row.seed} << 32 | static_cast<std::uint32_t>(row.position);
    for (int round = 0; round < 2; ++round) {
        x += 0x9e3779b97f4a7c15u * (static_cast<std::uint64_t>(token) + 1);
        x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
        x = (x ^ x >> 27) * 0x94d049bb133111ebu;
        x ^= x >> 31;
    }
    return (static_cast<float>(x >> 41) + 0.5f) * (1.0f / 8388608.0f);
}

// The largest logit / temperature plus a Gumbel number is drawn in those proportions (Gumbel 1954).
struct SampleKernel {
    static constexpr int kThreads = 512;
    const float* logits;  // [rows][vocab]
    const SampleRow* rows;
    TokenId* tokens;
    std::int32_t vocab;

    template <class B>
    HEARTH_KERNEL void run(B& block) const {
        const SampleRow row = rows[block.x];
        const float* from = logits + std::ptrdiff_t{block.x} * vocab;
        Own<B, float> best;
        Own<B, int> token;
        block.each([&](int t) {
            best[t] = kNoScore;
            token[t] = vocab;
            for (int i = t; i < vocab; i += kThreads) {
                float score = from[i];
                if (row.inverse_temperature > 0.0f)
                    score = score * row.inverse_temperature - logf(-logf(uniform_of(row, i)));
                if (score > best[t] || token[t] == vocab) {
                    best[t] = score;
                    token[t] = i;
                }
            }
        });
        HEARTH_UNROLL
        for (int apart = kWarp / 2; apart > 0; apart /= 2) take_better(block, best, token, apart);
        auto* scores = reinterpret_cast<float*>(block.shared);
        auto* ids = reinterpret_cast<int*>(scores + kThreads / kWarp);
        block.each([&](int t) {
            if (t % kWarp != 0) return;
            scores[t / kWarp] = best[t];
            ids[t / kWarp] = token[t];
        });
        block.sync();
        block.each([&](int t) {
            if (t != 0) return;
            int at = 0;
            for (int i = 1; i < kThreads / kWarp; ++i)
                if (is_better(scores[i], ids[i], scores[at], ids[at])) at = i;
            tokens[block.x] = ids[at] < vocab ? ids[at] : 0;
        });
    }

  private:
    HEARTH_KERNEL static bool is_better(float score, int token, float than, int of) {
        return score > than || (score == than && token < of);
    }
    template <class B>
    HEARTH_KERNEL static void take_better(B& block, Own<B, float>& best, Own<B, int>& token,
                                          int apart) {
        const Own<B, float> other = block.xor_lanes(best, apart);
        const Own<B, int> id = block.xor_lanes(token, apart);
        block.each([&](int t) {
            if (!is_better(other[t], id[t], best[t], token[t])) return;
            best[t] = other[t];
            token[t] = id[t];
        });
    }
};

}  // namespace hearth::engine::cuda
