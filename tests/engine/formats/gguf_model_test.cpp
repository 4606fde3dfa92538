// load_gguf: metadata to ModelConfig and vocabulary, tensors to weights, and errors by name.
#include "engine/formats/gguf_model.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <functional>
#include <limits>
#include <string>

#include "tests/engine/formats/small_gguf.h"

namespace hearth::engine {
namespace {

using Texts = std::vector<std::string>;
using Integers = std::vector<std::int32_t>;
using Floats = std::vector<float>;

std::string float_bytes(const Floats& values) {
    return std::string(reinterpret_cast<const char*>(values.data()), values.size() * sizeof(float));
}

TEST(GgufModel, ConfigOfASmallLlama) {
    const auto loaded = SmallGguf().load();
    ASSERT_TRUE(loaded.ok()) << loaded.error().message;
    const ModelConfig& c = loaded->config;
    EXPECT_EQ(c.name, "small");
    EXPECT_EQ(c.vocab_size, 6);
    EXPECT_EQ(c.hidden, 8);
    EXPECT_EQ(c.ffn_hidden, 12);
    EXPECT_EQ(c.heads, 2);
    EXPECT_EQ(c.kv_heads, 1);
    EXPECT_EQ(c.head_dim, 4) << "embedding_length / head_count where key_length is absent";
    EXPECT_EQ(c.rope_dim, 4);
    EXPECT_EQ(c.context_length, 256);
    EXPECT_EQ(c.kv_banks, 2);
    EXPECT_EQ(c.layer_count(), 2);
    EXPECT_EQ(c.rope_theta, 10000.0f);
    EXPECT_EQ(c.norm_eps, 1e-5f);
    EXPECT_EQ(c.rope_style, RopeStyle::kInterleaved);
    EXPECT_TRUE(c.tied_embeddings);
    EXPECT_FALSE(c.qkv_bias);
    EXPECT_TRUE(c.rope_freq_factors.empty());
    EXPECT_TRUE(validate(c).ok());
}

TEST(GgufModel, OptionalKeys) {
    SmallGguf model;
    model.drop("llama.attention.head_count_kv").set("llama.rope.freq_base", 500000.0f);
    model.set("llama.attention.key_length", 8u).set("llama.attention.value_length", 8u);
    model.set("llama.rope.dimension_count", 4u);
    for (const char* layer : {"blk.0.", "blk.1."}) {
        const std::string name = layer;
        for (const char* part : {"attn_q.weight", "attn_k.weight", "attn_v.weight"})
            model.tensor(name + part).shape = {16, 8};
        model.tensor(name + "attn_output.weight").shape = {8, 16};
    }
    const auto loaded = model.load();
    ASSERT_TRUE(loaded.ok()) << loaded.error().message;
    EXPECT_EQ(loaded->config.kv_heads, 2) << "as many as query heads where absent";
    EXPECT_EQ(loaded->config.head_dim, 8);
    EXPECT_EQ(loaded->config.rope_dim, 4);
    EXPECT_EQ(loaded->config.rope_theta, 500000.0f);
    EXPECT_EQ(loaded->weights.layers[1].wk.rows, 16);
}

TEST(GgufModel, WeightsAreTheQuantisedTensors) {
    SmallGguf model;
    Floats embedding(6 * 8);
    for (std::size_t i = 0; i < embedding.size(); ++i)
        embedding[i] = std::sin(static_cast<float>(i)) * static_cast<float>(i);
    model.tensor("token_embd.weight").bytes = float_bytes(embedding);
    const Floats norm = {1, 2, 3, 4, 5, 6, 7, 8};
    model.tensor("output_norm.weight").bytes = float_bytes(norm);
    const auto loaded = model.load();
    ASSERT_TRUE(loaded.ok()) << loaded.error().message;
    const QuantMatrix expected = quantize_rows(embedding.data(), 6, 8);
    EXPECT_EQ(loaded->weights.embedding.q, expected.q);
    EXPECT_EQ(loaded->weights.embedding.scale, expected.scale);
    EXPECT_EQ(loaded->weights.final_norm, norm);
    EXPECT_TRUE(loaded->weights.lm_head.q.empty());
    ASSERT_EQ(loaded->weights.layers.size(), 2u);
    EXPECT_EQ(loaded->weights.layers[0].down.rows, 8);
    EXPECT_EQ(loaded->weights.layers[0].down.cols, 12);
    EXPECT_EQ(loaded->weights.layers[0].attention_norm.size(), 8u);
}

TEST(GgufModel, UntiedHeadAndBiases) {
    SmallGguf model;
    model.tensor("output.weight").shape = {6, 8};
    for (const char* layer : {"blk.0.", "blk.1."}) {
        const std::string name = layer;
        model.tensor(name + "attn_q.bias").shape = {8};
        model.tensor(name + "attn_k.bias").shape = {4};
        model.tensor(name + "attn_v.bias").shape = {4};
    }
    const auto loaded = model.load();
    ASSERT_TRUE(loaded.ok()) << loaded.error().message;
    EXPECT_FALSE(loaded->config.tied_embeddings);
    EXPECT_TRUE(loaded->config.qkv_bias);
    EXPECT_EQ(loaded->weights.lm_head.rows, 6);
    EXPECT_EQ(loaded->weights.layers[1].bv.size(), 4u);

    const auto partly = model.drop_tensor("blk.1.attn_k.bias").load();
    ASSERT_FALSE(partly.ok());
    EXPECT_EQ(partly.error().message, "test.gguf: tensor 'blk.1.attn_k.bias' is missing");
}

TEST(GgufModel, RopeFactors) {
    SmallGguf model;
    model.tensor("rope_freqs.weight").shape = {2};
    model.tensor("rope_freqs.weight").bytes = float_bytes({1.0f, 8.0f});
    auto loaded = model.load(false);
    ASSERT_TRUE(loaded.ok()) << loaded.error().message;
    EXPECT_EQ(loaded->config.rope_freq_factors, (Floats{1.0f, 8.0f}));

    model.set("llama.rope.scaling.type", "linear").set("llama.rope.scaling.factor", 4.0f);
    loaded = model.load(false);
    ASSERT_TRUE(loaded.ok()) << loaded.error().message;
    EXPECT_EQ(loaded->config.rope_freq_factors, (Floats{4.0f, 32.0f}));

    loaded = model.drop_tensor("rope_freqs.weight").load(false);
    ASSERT_TRUE(loaded.ok()) << loaded.error().message;
    EXPECT_EQ(loaded->config.rope_freq_factors, (Floats{4.0f, 4.0f}));

    loaded = model.set("llama.rope.scaling.type", "none").load(false);
    ASSERT_TRUE(loaded.ok()) << loaded.error().message;
    EXPECT_TRUE(loaded->config.rope_freq_factors.empty());

    SmallGguf older;
    loaded = older.set("llama.rope.scale_linear", 2.0f).load(false);
    ASSERT_TRUE(loaded.ok()) << loaded.error().message;
    EXPECT_EQ(loaded->config.rope_freq_factors, (Floats{2.0f, 2.0f}));
}

TEST(GgufModel, HearthLayersReadTheirTable) {
    SmallGguf model("hearth");
    model.set("hearth.attention.window", Integers{64, 0});
    model.set("hearth.attention.kv_source", Integers{0, 0});
    model.drop_tensor("blk.1.attn_k.weight").drop_tensor("blk.1.attn_v.weight");
    const auto loaded = model.load();
    ASSERT_TRUE(loaded.ok()) << loaded.error().message;
    const ModelConfig& c = loaded->config;
    EXPECT_EQ(c.kv_banks, 1);
    EXPECT_EQ(c.layers[0].window, 64);
    EXPECT_TRUE(c.layers[0].writes_kv);
    EXPECT_EQ(c.layers[1].window, 0);
    EXPECT_FALSE(c.layers[1].writes_kv);
    EXPECT_EQ(c.layers[1].kv_bank, 0);
    EXPECT_TRUE(loaded->weights.layers[1].wk.q.empty());
    EXPECT_EQ(loaded->weights.layers[1].wq.rows, 8);
}

TEST(GgufModel, ByteLevelVocabulary) {
    SmallGguf model;
    model.set("tokenizer.ggml.model", "gpt2").set("tokenizer.ggml.pre", "smollm");
    model.set("tokenizer.ggml.tokens",
              Texts{"<|endoftext|>", "<|im_start|>", "<|im_end|>", "a", "b", "ab"});
    model.set("tokenizer.ggml.token_type", Integers{3, 3, 4, 1, 1, 1});
    model.set("tokenizer.ggml.merges", Texts{"a b", "  c"});
    model.set("tokenizer.ggml.bos_token_id", 1u).set("tokenizer.ggml.eos_token_id", 0u);
    model.set("tokenizer.ggml.unknown_token_id", 4294967295u);
    model.set("tokenizer.chat_template", "{{ '<|im_start|>' }}");
    const auto loaded = model.load(false);
    ASSERT_TRUE(loaded.ok()) << loaded.error().message;
    const VocabularySpec& v = loaded->vocabulary;
    EXPECT_EQ(v.kind, VocabularyKind::kByteLevelBpe);
    EXPECT_EQ(v.pre_tokenizer, "smollm");
    ASSERT_EQ(v.merges.size(), 2u);
    EXPECT_EQ(v.merges[0], (std::pair<std::string, std::string>("a", "b")));
    EXPECT_EQ(v.merges[1], (std::pair<std::string, std::string>(" ", "c")));
    EXPECT_EQ(v.bos, 1);
    EXPECT_EQ(v.eos, 0);
    EXPECT_EQ(v.unknown, -1) << "2^32 - 1 means none";
    EXPECT_FALSE(v.add_bos);
    EXPECT_FALSE(v.ignore_merges);
    EXPECT_EQ(v.end_of_turn, std::vector<TokenId>{2}) << "<|im_end|>; EOS itself is not repeated";
    EXPECT_EQ(v.types[2], TokenType::kControl) << "no text of a user's may end a turn";
    EXPECT_EQ(loaded->chat_template, "{{ '<|im_start|>' }}");

    const auto llama3 = model.set("tokenizer.ggml.pre", "llama-bpe").load(false);
    ASSERT_TRUE(llama3.ok());
    EXPECT_TRUE(llama3->vocabulary.ignore_merges);
    EXPECT_TRUE(llama3->vocabulary.add_bos);
}

TEST(GgufModel, SentencePieceVocabularyHasTheFamilysDefaults) {
    const auto loaded = SmallGguf().load(false);
    ASSERT_TRUE(loaded.ok()) << loaded.error().message;
    const VocabularySpec& v = loaded->vocabulary;
    EXPECT_EQ(v.kind, VocabularyKind::kSentencePiece);
    EXPECT_EQ(v.scores, (Floats{0, 0, 0, -2, -3, -1}));
    EXPECT_EQ(v.bos, 1);
    EXPECT_EQ(v.eos, 2);
    EXPECT_EQ(v.unknown, 0);
    EXPECT_TRUE(v.add_bos);
    EXPECT_TRUE(v.add_space_prefix);
    EXPECT_EQ(v.types[0], TokenType::kUnknown);
    EXPECT_EQ(v.types[3], TokenType::kNormal);
}

struct Refusal {
    const char* message;
    ErrorCode code;
    std::function<void(SmallGguf&)> change;
};

void expect_refusals(const std::vector<Refusal>& cases) {
    for (const Refusal& refusal : cases) {
        SmallGguf model;
        refusal.change(model);
        const auto loaded = model.load(false);
        ASSERT_FALSE(loaded.ok()) << refusal.message;
        EXPECT_EQ(loaded.error().code, refusal.code) << loaded.error().message;
        EXPECT_NE(loaded.error().message.find(refusal.message), std::string::npos)
            << loaded.error().message << " should contain: " << refusal.message;
    }
}

constexpr auto kBad = ErrorCode::kCorrupt;
constexpr auto kOther = ErrorCode::kUnsupported;
constexpr auto kLarge = ErrorCode::kTooLarge;
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

TEST(GgufModel, RefusesShapesItCannotRun) {
    expect_refusals({
        {"'general.architecture' is 'bert' (supported: llama, hearth, qwen2, qwen3, gemma2, "
         "gemma3, phi3)",
         kOther, [](SmallGguf& m) { m.set("general.architecture", "bert"); }},
        {"key 'llama.block_count' is missing", kBad,
         [](SmallGguf& m) { m.drop("llama.block_count"); }},
        {"key 'llama.block_count' is not an integer", kBad,
         [](SmallGguf& m) { m.set("llama.block_count", "2"); }},
        {"over 512 layers", kLarge,
         [](SmallGguf& m) { m.set("llama.block_count", 2'000'000'000u); }},
        {"layers is 0", kBad, [](SmallGguf& m) { m.set("llama.block_count", 0u); }},
        {"hidden is 1000000", kLarge,
         [](SmallGguf& m) { m.set("llama.embedding_length", 1'000'000u); }},
        {"key 'llama.embedding_length' is out of range", kLarge,
         [](SmallGguf& m) { m.set("llama.embedding_length", 4'000'000'000u); }},
        {"heads is 0", kBad, [](SmallGguf& m) { m.set("llama.attention.head_count", 0u); }},
        {"'llama.attention.head_count_kv' differs from layer to layer", kOther,
         [](SmallGguf& m) {
             m.set("llama.attention.head_count_kv", Integers{1, 2});
         }},
        {"'llama.attention.value_length' differs", kOther,
         [](SmallGguf& m) { m.set("llama.attention.value_length", 8u); }},
        {"'llama.expert_count'", kOther, [](SmallGguf& m) { m.set("llama.expert_count", 8u); }},
        {"'llama.rope.scaling.type' is 'yarn'", kOther,
         [](SmallGguf& m) { m.set("llama.rope.scaling.type", "yarn"); }},
        {"'llama.attention.layer_norm_rms_epsilon' is not finite", kBad,
         [](SmallGguf& m) { m.set("llama.attention.layer_norm_rms_epsilon", kNan); }},
    });
}

TEST(GgufModel, RefusesVocabulariesThatContradict) {
    expect_refusals({
        {"'tokenizer.ggml.model' is 'bert' (supported: gpt2, llama)", kOther,
         [](SmallGguf& m) { m.set("tokenizer.ggml.model", "bert"); }},
        {"'tokenizer.ggml.tokens' is missing or empty", kBad,
         [](SmallGguf& m) {
             m.drop("tokenizer.ggml.tokens").tensor("token_embd.weight").shape = {1, 8};
         }},
        {"'tokenizer.ggml.token_type' counts 1 tokens of 6", kBad,
         [](SmallGguf& m) { m.set("tokenizer.ggml.token_type", Integers{1}); }},
        {"'tokenizer.ggml.token_type' holds 9", kBad,
         [](SmallGguf& m) {
             m.set("tokenizer.ggml.token_type", Integers{2, 3, 3, 1, 1, 9});
         }},
        {"'tokenizer.ggml.scores' counts 0", kBad,
         [](SmallGguf& m) { m.drop("tokenizer.ggml.scores"); }},
        {"'tokenizer.ggml.scores' is not finite", kBad,
         [](SmallGguf& m) {
             m.set("tokenizer.ggml.scores", Floats{0, 0, 0, 0, 0, kNan});
         }},
        {"'tokenizer.ggml.merges' is missing", kBad,
         [](SmallGguf& m) { m.set("tokenizer.ggml.model", "gpt2"); }},
        {"'tokenizer.ggml.merges' holds 'ab'", kBad,
         [](SmallGguf& m) {
             m.set("tokenizer.ggml.model", "gpt2").set("tokenizer.ggml.merges", Texts{"ab"});
         }},
        {"special token's id is out of range", kBad,
         [](SmallGguf& m) { m.set("tokenizer.ggml.eos_token_id", 6u); }},
    });
}

TEST(GgufModel, RefusesTensorsThatContradict) {
    expect_refusals({
        {"tensor 'blk.1.ffn_up.weight' is missing", kBad,
         [](SmallGguf& m) { m.drop_tensor("blk.1.ffn_up.weight"); }},
        {"tensor 'blk.0.attn_k.weight' has shape [8, 8], the header calls for [4, 8]", kBad,
         [](SmallGguf& m) {
             m.tensor("blk.0.attn_k.weight").shape = {8, 8};
         }},
        {"tensor 'token_embd.weight' has shape [7, 8], the header calls for [6, 8]", kBad,
         [](SmallGguf& m) {
             m.tensor("token_embd.weight").shape = {7, 8};
         }},
        {"tensor 'output_norm.weight' has shape [8, 1]", kBad,
         [](SmallGguf& m) {
             m.tensor("output_norm.weight").shape = {8, 1};
         }},
        {"tensor 'blk.0.attn_q_norm.weight' has no place", kOther,
         [](SmallGguf& m) { m.tensor("blk.0.attn_q_norm.weight").shape = {4}; }},
        {"tensor 'blk.2.attn_norm.weight' has no place", kOther,
         [](SmallGguf& m) { m.tensor("blk.2.attn_norm.weight").shape = {8}; }},
        {"tensor 'rope_freqs.weight' has shape [3]", kBad,
         [](SmallGguf& m) { m.tensor("rope_freqs.weight").shape = {3}; }},
        {"rope_freq_factors", kBad,
         [](SmallGguf& m) {
             m.tensor("rope_freqs.weight").shape = {2};
             m.tensor("rope_freqs.weight").bytes = float_bytes({1.0f, kNan});
         }},
    });
}

TEST(GgufModel, RefusesLayerTablesThatContradict) {
    const auto refused = [](const char* key, const Integers& table) {
        const auto loaded = SmallGguf("hearth").set(key, table).load(false);
        EXPECT_FALSE(loaded.ok()) << key;
        return loaded.ok() ? std::string() : loaded.error().message;
    };
    const char* source = "hearth.attention.kv_source";
    EXPECT_NE(refused(source, {0}).find("one entry per layer"), std::string::npos);
    EXPECT_NE(refused(source, {1, 1}).find("layer 0 reads layer 1"), std::string::npos);
    EXPECT_NE(refused(source, {0, -1}).find("layer 1 reads layer -1"), std::string::npos);
    EXPECT_NE(refused("hearth.attention.window", {1, 2, 3}).find("one entry"), std::string::npos);
    EXPECT_NE(refused("hearth.attention.window", {-5, 0}).find("window"), std::string::npos);
}

TEST(GgufModel, NumbersThatAreNotFiniteAreRefusedByTensor) {
    SmallGguf model;
    Floats values(8 * 8, 1.0f);
    values[37] = std::numeric_limits<float>::infinity();
    model.tensor("blk.1.attn_q.weight").bytes = float_bytes(values);
    const auto loaded = model.load();
    ASSERT_FALSE(loaded.ok());
    EXPECT_EQ(loaded.error().code, ErrorCode::kCorrupt);
    EXPECT_EQ(loaded.error().message,
              "test.gguf: tensor 'blk.1.attn_q.weight' holds a number that is not finite");
    EXPECT_TRUE(model.load(false).ok()) << "the bytes are not looked at";
}

TEST(GgufModel, QuantisedScalesThatAreNotFiniteAreRefused) {
    SmallGguf model;  // Hidden 32, so that rows are whole blocks.
    model.set("llama.embedding_length", 32u).set("llama.attention.key_length", 4u);
    model.set("llama.attention.value_length", 4u);
    for (SmallTensor& tensor : model.tensors)
        for (std::int64_t& size : tensor.shape)
            if (size == 8) size = 32;
    for (const char* layer : {"blk.0.", "blk.1."}) {
        model.tensor(std::string(layer) + "attn_q.weight").shape = {8, 32};
        model.tensor(std::string(layer) + "attn_output.weight").shape = {32, 8};
    }
    SmallTensor& up = model.tensor("blk.0.ffn_up.weight");
    up.type = TensorType::kQ8_0;
    up.bytes.assign(12 * 34, '\x01');
    ASSERT_TRUE(model.load().ok()) << model.load().error().message;
    up.bytes.replace(5 * 34, 2, std::string("\x00\x7c", 2));  // The half-precision infinity.
    const auto loaded = model.load();
    ASSERT_FALSE(loaded.ok());
    EXPECT_NE(loaded.error().message.find("'blk.0.ffn_up.weight'"), std::string::npos);
}

TEST(GgufModel, FingerprintFollowsEverythingThatCounts) {
    const auto print = [](const SmallGguf& model, bool weights = true) {
        const auto loaded = model.load(weights);
        EXPECT_TRUE(loaded.ok());
        return loaded.ok() ? loaded->fingerprint : 0;
    };
    const std::uint64_t base = print(SmallGguf());
    EXPECT_NE(base, 0u);
    EXPECT_EQ(print(SmallGguf()), base);
    EXPECT_EQ(print(SmallGguf().set("general.name", "renamed")), base);
    EXPECT_NE(print(SmallGguf().set("llama.rope.freq_base", 10001.0f)), base);
    EXPECT_NE(print(SmallGguf().set("llama.context_length", 257u)), base);
    EXPECT_NE(print(SmallGguf().set("tokenizer.ggml.tokens",
                                    Texts{"<unk>", "<s>", "</s>", "a", "b", "abc"})),
              base);
    SmallGguf weights;
    Floats values(8 * 8, 1.0f);
    weights.tensor("blk.1.attn_q.weight").bytes = float_bytes(values);
    const std::uint64_t one = print(weights);
    values[63] = std::nextafter(1.0f, 2.0f);  // Lost by quantisation, but not by the fingerprint.
    weights.tensor("blk.1.attn_q.weight").bytes = float_bytes(values);
    EXPECT_NE(print(weights), one);
    EXPECT_EQ(print(weights, false), print(SmallGguf(), false)) << "metadata only";
}

}  // namespace
}  // namespace hearth::engine
