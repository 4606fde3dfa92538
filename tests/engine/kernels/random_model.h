// random_model.h: seeded weights, configs and KV pages for the tests of engine/kernels.
#pragma once

#include <gtest/gtest.h>

#include <cmath>
#include <cstddef>
#include <memory>
#include <numbers>
#include <string>
#include <utility>
#include <vector>

#include "common/base/rng.h"
#include "engine/engine.h"

namespace hearth::engine::testing {

// Roughly normal, mean 0, standard deviation 1 (Box and Muller 1958).
inline float normal(Rng& rng) {
    const double u = 1.0 - rng.uniform();
    const double angle = 2.0 * std::numbers::pi * rng.uniform();
    return static_cast<float>(std::sqrt(-2.0 * std::log(u)) * std::cos(angle));
}

inline std::vector<float> normals(Rng& rng, std::size_t count, float size = 1.0f) {
    std::vector<float> out(count);
    for (float& x : out) x = normal(rng) * size;
    return out;
}

inline QuantMatrix random_matrix(Rng& rng, std::int32_t rows, std::int32_t cols) {
    const float size = 1.0f / std::sqrt(static_cast<float>(cols));
    const auto count = static_cast<std::size_t>(rows) * static_cast<std::size_t>(cols);
    const std::vector<float> values = normals(rng, count, size);
    return quantize_rows(values.data(), rows, cols);
}

inline std::vector<float> random_gains(Rng& rng, std::int32_t size) {
    std::vector<float> out = normals(rng, static_cast<std::size_t>(size), 0.2f);
    for (float& x : out) x += 1.0f;
    return out;
}

inline Checkpoint random_checkpoint(const ModelConfig& config, std::uint64_t seed) {
    Rng rng(seed);
    Checkpoint out;
    out.config = config;
    Weights& w = out.weights;
    const std::int32_t q = config.heads * config.head_dim;
    const std::int32_t kv = config.kv_heads * config.head_dim;
    w.embedding = random_matrix(rng, config.vocab_size, config.hidden);
    for (const LayerShape& shape : config.layers) {
        LayerWeights layer;
        layer.attention_norm = random_gains(rng, config.hidden);
        layer.ffn_norm = random_gains(rng, config.hidden);
        layer.wq = random_matrix(rng, q, config.hidden);
        if (config.qkv_bias) layer.bq = normals(rng, static_cast<std::size_t>(q), 0.3f);
        if (shape.writes_kv) {
            layer.wk = random_matrix(rng, kv, config.hidden);
            layer.wv = random_matrix(rng, kv, config.hidden);
            if (config.qkv_bias) {
                layer.bk = normals(rng, static_cast<std::size_t>(kv), 0.3f);
                layer.bv = normals(rng, static_cast<std::size_t>(kv), 0.3f);
            }
        }
        layer.wo = random_matrix(rng, config.hidden, q);
        layer.gate = random_matrix(rng, config.ffn_hidden, config.hidden);
        layer.up = random_matrix(rng, config.ffn_hidden, config.hidden);
        layer.down = random_matrix(rng, config.hidden, config.ffn_hidden);
        const auto head = config.qk_norm ? config.head_dim : 0;
        const auto post = config.post_norms ? config.hidden : 0;
        layer.q_norm = random_gains(rng, head);
        layer.k_norm = random_gains(rng, shape.writes_kv ? head : 0);
        layer.post_attention_norm = random_gains(rng, post);
        layer.post_ffn_norm = random_gains(rng, post);
        w.layers.push_back(std::move(layer));
    }
    w.final_norm = random_gains(rng, config.hidden);
    if (!config.tied_embeddings) w.lm_head = random_matrix(rng, config.vocab_size, config.hidden);
    return out;
}

// Any shape that validate() accepts: MHA, GQA, MQA, windows, shared banks, biases, odd widths.
inline ModelConfig random_config(Rng& rng) {
    const auto pick = [&](std::int32_t low, std::int32_t high) {
        return low +
               static_cast<std::int32_t>(rng.below(static_cast<std::uint64_t>(high - low + 1)));
    };
    ModelConfig c;
    c.name = "random";
    c.vocab_size = pick(17, 200);
    c.hidden = pick(3, 40) * 4;
    c.ffn_hidden = pick(3, 60) * 4;
    c.head_dim = pick(1, 10) * 4;
    c.kv_heads = pick(1, 3);
    c.heads = c.kv_heads * pick(1, 4);
    c.context_length = 1024;
    c.rope_dim = rng.below(3) == 0 ? c.head_dim / 2 : c.head_dim;
    c.rope_style = rng.below(2) == 0 ? RopeStyle::kHalves : RopeStyle::kInterleaved;
    c.rope_scaling.factor = rng.below(4) == 0 ? 8.0f : 1.0f;
    c.rope_scaling.original_context = 64;
    c.tied_embeddings = rng.below(2) == 0;
    c.qkv_bias = rng.below(3) == 0;
    c.qk_norm = rng.below(3) == 0;
    c.post_norms = rng.below(3) == 0;
    c.activation = rng.below(3) == 0 ? Activation::kGelu : Activation::kSilu;
    c.attention_scale = rng.below(3) == 0 ? 0.3f : 0.0f;
    c.attention_softcap = rng.below(3) == 0 ? 3.0f : 0.0f;
    c.logit_softcap = rng.below(3) == 0 ? 5.0f : 0.0f;
    c.rope_magnitude = rng.below(3) == 0 ? 1.2f : 1.0f;
    c.local_rope_theta = rng.below(3) == 0 ? 500.0f : 0.0f;
    const std::int32_t window = rng.below(2) == 0 ? pick(1, 150) : 0;
    const bool share = rng.below(2) == 0;
    const std::int32_t layers = pick(1, 4);
    for (std::int32_t i = 0; i < layers; ++i) {
        const bool first = !share || i % 2 == 0;  // Layers 2k and 2k + 1 share a bank.
        if (first) ++c.kv_banks;
        const std::int32_t pair = share ? i / 2 : i;
        c.layers.push_back({.kv_bank = c.kv_banks - 1,
                            .writes_kv = first,
                            .window = pair % 2 == 0 ? window : 0,
                            .local_rope = pair % 2 == 0 && c.local_rope_theta > 0.0f});
    }
    return c;
}

// The pages of one sequence, filled with bytes that would spoil any result they leaked into.
class Pages {
  public:
    Pages(const KvLayout& layout, std::int32_t tokens) {
        const std::int32_t count = (tokens + kPageTokens - 1) / kPageTokens;
        for (std::int32_t i = 0; i < count; ++i) {
            memory_.emplace_back(layout.page_bytes() + 64, std::byte{0xff});  // Scales become NaN.
            const auto address = reinterpret_cast<std::uintptr_t>(memory_.back().data());
            pointers_.push_back(memory_.back().data() + (64 - address % 64) % 64);
        }
    }
    std::span<std::byte* const> span() const { return pointers_; }

  private:
    std::vector<std::vector<std::byte>> memory_;
    std::vector<std::byte*> pointers_;
};

inline std::vector<TokenId> random_tokens(Rng& rng, std::int32_t count, std::int32_t vocab) {
    std::vector<TokenId> out(static_cast<std::size_t>(count));
    for (TokenId& t : out) t = static_cast<TokenId>(rng.below(static_cast<std::uint64_t>(vocab)));
    return out;
}

inline std::unique_ptr<Engine> engine_or_die(Checkpoint checkpoint, const EngineOptions& options) {
    auto made = make_engine(std::move(checkpoint), options);
    EXPECT_TRUE(made.ok()) << (made.ok() ? "" : made.error().message);
    return std::move(made).value();
}

}  // namespace hearth::engine::testing
