// A strong bias in K costs int8 less when what RoPE leaves of it is taken off the keys.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "engine/kernels/ref/float_model.h"
#include "tests/engine/kernels/random_model.h"

namespace hearth::engine::testing {
namespace {

TEST(RopeTable, MeanRotationIsTheMeanOfAllPositions) {
    Rng rng(3);
    ModelConfig config;
    config.head_dim = config.rope_dim = 16;
    config.context_length = 700;
    config.rope_magnitude = 1.1f;
    for (const RopeStyle style : {RopeStyle::kHalves, RopeStyle::kInterleaved}) {
        config.rope_style = style;
        RopeTable rope(config);
        rope.grow(config.context_length);
        const std::vector<float> head = normals(rng, 16);
        std::vector<double> mean(16);
        for (std::int32_t p = 0; p < config.context_length; ++p) {
            for (std::int32_t i = 0; i < 8; ++i) {
                const bool halves = style == RopeStyle::kHalves;
                const auto a = static_cast<std::size_t>(halves ? i : 2 * i);
                const auto b = static_cast<std::size_t>(halves ? i + 8 : 2 * i + 1);
                const double c = rope.cos_of(p)[i], s = rope.sin_of(p)[i];
                mean[a] += (head[a] * c - head[b] * s) / config.context_length;
                mean[b] += (head[a] * s + head[b] * c) / config.context_length;
            }
        }
        const std::vector<float> got = rope.mean_rotation(head.data(), config);
        for (std::size_t i = 0; i < 16; ++i) EXPECT_NEAR(got[i], mean[i], 1e-5);
    }
}

// Root mean square error of int8's logits beside float's, relative to their size.
double int8_error(const ModelConfig& config, float bias) {
    const auto make = [&] {
        Checkpoint made = random_checkpoint(config, 8);
        for (LayerWeights& layer : made.weights.layers)
            for (std::size_t i = 0; i < layer.bk.size(); ++i)  // Only of pairs that turn slowly.
                layer.bk[i] *= i % 32 < 16 ? 0.0f : bias;
        return made;
    };
    Rng rng(9);
    const std::vector<TokenId> tokens = random_tokens(rng, 200, config.vocab_size);
    FloatModel reference(make(), 1);
    const std::vector<float> want = reference.logits(tokens);
    const auto engine = engine_or_die(make(), {.backend = "ref"});
    const Pages pages(engine->kv_layout(), 200);
    std::vector<float> got(want.size());
    const Slice slice = {pages.span(), 0, tokens, Slice::Logits::kAll};
    engine->step({&slice, 1}, got);
    double squares = 0.0, size = 0.0;
    for (std::size_t i = 0; i < want.size(); ++i) {
        squares += std::pow(double{got[i]} - want[i], 2);
        size += std::pow(want[i], 2);
    }
    return std::sqrt(squares / size);
}

TEST(KeyShift, ABiasInKCostsNextToNothing) {
    ModelConfig config;
    config.vocab_size = 100;
    config.hidden = config.ffn_hidden = 128;
    config.heads = 2;
    config.kv_heads = config.kv_banks = 1;
    config.head_dim = config.rope_dim = 64;
    config.context_length = 512;
    config.rope_theta = 1e9f;  // As in models for long contexts.
    config.qkv_bias = true;
    config.layers.resize(1);
    const double plain = int8_error(config, 0.0f);
    const double folded = int8_error(config, 100.0f);
    // A cap far above all scores changes nothing but that the bias stays in the keys.
    config.attention_softcap = 1e7f;
    const double kept = int8_error(config, 100.0f);
    std::printf("error without bias %.2f %%, folded %.2f %%, kept in K %.2f %%\n", 100 * plain,
                100 * folded, 100 * kept);
    EXPECT_LT(folded, kept / 2);
}

}  // namespace
}  // namespace hearth::engine::testing
