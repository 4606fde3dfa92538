// validate(): a sound shape passes; each broken rule is named by its field and has the right code.
#include "engine/model/config.h"

#include <gtest/gtest.h>

#include <functional>
#include <limits>
#include <string>

namespace hearth::engine {
namespace {

ModelConfig sound() {
    ModelConfig c;
    c.vocab_size = 384;
    c.hidden = 64;
    c.ffn_hidden = 192;
    c.heads = 4;
    c.kv_heads = 2;
    c.head_dim = 16;
    c.rope_dim = 16;
    c.context_length = 4096;
    c.kv_banks = 2;
    c.layers = {{.kv_bank = 0, .writes_kv = true, .window = 128},
                {.kv_bank = 0, .writes_kv = false, .window = 128},
                {.kv_bank = 1, .writes_kv = true, .window = 0}};
    return c;
}

TEST(Config, SoundShapesPass) {
    EXPECT_TRUE(validate(sound()).ok());
    ModelConfig factors = sound();
    factors.rope_freq_factors.assign(8, 2.0f);
    EXPECT_TRUE(validate(factors).ok());
    ModelConfig largest = sound();
    largest.hidden = 131'072;
    largest.vocab_size = 1'048'576;
    EXPECT_TRUE(validate(largest).ok());
}

struct Broken {
    const char* field;
    ErrorCode code;
    std::function<void(ModelConfig&)> change;
};

TEST(Config, EachBrokenRuleIsNamed) {
    constexpr auto kBad = ErrorCode::kInvalidArgument;
    constexpr auto kLarge = ErrorCode::kTooLarge;
    const Broken cases[] = {
        {"vocab_size", kBad, [](ModelConfig& c) { c.vocab_size = 0; }},
        {"vocab_size", kLarge, [](ModelConfig& c) { c.vocab_size = 1'048'577; }},
        {"hidden", kBad, [](ModelConfig& c) { c.hidden = -64; }},
        {"hidden", kLarge, [](ModelConfig& c) { c.hidden = 131'073; }},
        {"ffn_hidden", kLarge, [](ModelConfig& c) { c.ffn_hidden = 131'073; }},
        {"heads", kBad, [](ModelConfig& c) { c.heads = 0; }},
        {"heads * head_dim", kLarge, [](ModelConfig& c) { c.heads = 131'072; }},
        {"kv_heads", kBad, [](ModelConfig& c) { c.kv_heads = 3; }},
        {"head_dim", kLarge, [](ModelConfig& c) { c.head_dim = 516; }},
        {"head_dim", kBad, [](ModelConfig& c) { c.head_dim = 18; }},
        {"context_length", kLarge, [](ModelConfig& c) { c.context_length = 16'777'217; }},
        {"layers", kBad, [](ModelConfig& c) { c.layers.clear(); }},
        {"layers", kLarge, [](ModelConfig& c) { c.layers.resize(513); }},
        {"kv_banks", kBad, [](ModelConfig& c) { c.kv_banks = 3; }},
        {"kv_banks", kBad, [](ModelConfig& c) { c.kv_banks = 1; }},
        {"norm_eps", kBad, [](ModelConfig& c) { c.norm_eps = -1.0f; }},
        {"rope_theta", kBad,
         [](ModelConfig& c) { c.rope_theta = std::numeric_limits<float>::quiet_NaN(); }},
        {"rope_dim", kLarge, [](ModelConfig& c) { c.rope_dim = 18; }},
        {"rope_dim", kBad, [](ModelConfig& c) { c.rope_dim = 15; }},
        {"rope_scaling.factor", kBad, [](ModelConfig& c) { c.rope_scaling.factor = 0.0f; }},
        {"rope_scaling.high_freq_factor", kBad,
         [](ModelConfig& c) {
             c.rope_scaling = {8.0f, 4.0f, 4.0f, 8192};
         }},
        {"rope_freq_factors", kBad, [](ModelConfig& c) { c.rope_freq_factors.assign(7, 1.0f); }},
        {"rope_freq_factors", kBad, [](ModelConfig& c) { c.rope_freq_factors.assign(8, 0.0f); }},
        {"layers[1].kv_bank", kBad, [](ModelConfig& c) { c.layers[1].kv_bank = 1; }},
        {"layers[1].kv_bank", kBad, [](ModelConfig& c) { c.layers[1].kv_bank = -1; }},
        {"layers[1].kv_bank", kBad, [](ModelConfig& c) { c.layers[1].writes_kv = true; }},
        {"layers[0].kv_bank", kBad, [](ModelConfig& c) { c.layers[0].writes_kv = false; }},
        {"layers[2].window", kBad, [](ModelConfig& c) { c.layers[2].window = -1; }},
    };
    for (const Broken& broken : cases) {
        ModelConfig c = sound();
        broken.change(c);
        const auto result = validate(c);
        ASSERT_FALSE(result.ok()) << broken.field;
        EXPECT_EQ(result.error().code, broken.code) << result.error().message;
        EXPECT_NE(result.error().message.find(broken.field), std::string::npos)
            << result.error().message << " should name " << broken.field;
    }
}

}  // namespace
}  // namespace hearth::engine
