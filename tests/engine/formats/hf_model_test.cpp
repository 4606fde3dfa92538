// load_hugging_face: the same random weights as GGUF and as a folder load to the same model.
#include "engine/formats/hf_model.h"

#include <gtest/gtest.h>

#include <bit>
#include <boost/json.hpp>
#include <cmath>
#include <cstring>
#include <fstream>
#include <iterator>

#include "engine/formats/gguf_model.h"
#include "tests/engine/formats/scratch_folder.h"

namespace hearth::engine {
namespace {

namespace json = boost::json;

using Rows = std::vector<std::vector<float>>;

// Seven bits of fraction and no tiny numbers: exact in F32, F16 and BF16 alike.
float coarse(float value) {
    if (std::fabs(value) < 0x1.0p-9f) return 0.0f;
    return std::bit_cast<float>(std::bit_cast<std::uint32_t>(value) & 0xffff0000u);
}

std::uint16_t half_bits(float value) {  // Of a coarse value.
    const std::uint32_t bits = std::bit_cast<std::uint32_t>(value);
    if (value == 0.0f) return 0;
    const std::uint32_t exponent = ((bits >> 23) & 255u) - 112u;
    return static_cast<std::uint16_t>((bits >> 16 & 0x8000u) | exponent << 10 |
                                      (bits >> 13 & 0x3ffu));
}

// The bytes of a tiny GGUF model with every weight made coarse.
std::string coarse_gguf(const ScratchFolder& folder, const TinyModelOptions& options) {
    const std::string path = folder.file("model.gguf");
    EXPECT_TRUE(write_tiny_model(path, options).ok());
    std::ifstream in(path, std::ios::binary);
    std::string bytes{std::istreambuf_iterator<char>(in), std::istreambuf_iterator<char>()};
    const auto file = GgufFile::parse(std::as_bytes(std::span(bytes)), path);
    EXPECT_TRUE(file.ok());
    for (const auto& [name, tensor] : file->tensors()) {
        const auto start = static_cast<std::size_t>(
            reinterpret_cast<const char*>(tensor.bytes.data()) - bytes.data());
        for (std::size_t at = start; at < start + tensor.bytes.size(); at += sizeof(float)) {
            float value = 0;
            std::memcpy(&value, bytes.data() + at, sizeof value);
            value = coarse(value);
            std::memcpy(bytes.data() + at, &value, sizeof value);
        }
    }
    return bytes;
}

Rows rows_of(const TensorView& tensor) {
    const auto cols = static_cast<std::size_t>(tensor.shape.back());
    Rows out(tensor.bytes.size() / sizeof(float) / cols, std::vector<float>(cols));
    for (std::size_t r = 0; r < out.size(); ++r)
        std::memcpy(out[r].data(), tensor.bytes.data() + r * cols * sizeof(float),
                    cols * sizeof(float));
    return out;
}

// GGUF's row 2 i + p of a head is row p d/2 + i of the Hugging Face checkpoint: the pair (2i, 2i+1)
// that interleaved RoPE rotates is the pair (i, i + d/2) of RoPE in halves.
std::size_t halves_row(std::size_t row, std::size_t head_dim) {
    const std::size_t in_head = row % head_dim;
    return row - in_head + in_head % 2 * (head_dim / 2) + in_head / 2;
}

Rows to_halves(const Rows& rows, std::size_t head_dim) {
    Rows out(rows.size());
    for (std::size_t r = 0; r < rows.size(); ++r) out[halves_row(r, head_dim)] = rows[r];
    return out;
}

std::string hf_name(const std::string& name) {
    static const std::pair<const char*, const char*> kParts[] = {
        {"attn_norm", "input_layernorm"},    {"attn_q", "self_attn.q_proj"},
        {"attn_k", "self_attn.k_proj"},      {"attn_v", "self_attn.v_proj"},
        {"attn_output", "self_attn.o_proj"}, {"ffn_norm", "post_attention_layernorm"},
        {"ffn_gate", "mlp.gate_proj"},       {"ffn_up", "mlp.up_proj"},
        {"ffn_down", "mlp.down_proj"},
    };
    if (name == "token_embd.weight") return "model.embed_tokens.weight";
    if (name == "output_norm.weight") return "model.norm.weight";
    if (name == "output.weight") return "lm_head.weight";
    const auto dot = name.find('.', 4);
    const std::string part = name.substr(dot + 1, name.rfind('.') - dot - 1);
    for (const auto& [gguf, hf] : kParts)
        if (part == gguf) return "model.layers." + name.substr(4, dot - 4) + "." + hf + ".weight";
    ADD_FAILURE() << name;
    return "";
}

// One safetensors file of the tensors that `wanted` picks.
template <typename Wanted>
std::string safetensors_of(const TensorTable& tensors, const std::string& dtype,
                           std::size_t head_dim, Wanted wanted) {
    json::object header;
    std::string data;
    for (const auto& [name, tensor] : tensors) {
        if (!wanted(name)) continue;
        Rows rows = rows_of(tensor);
        if (name.find("attn_q.") != std::string::npos || name.find("attn_k.") != std::string::npos)
            rows = to_halves(rows, head_dim);
        const std::size_t begin = data.size();
        for (const auto& row : rows) {
            for (const float value : row) {
                const std::uint32_t bits = std::bit_cast<std::uint32_t>(value);
                const std::uint16_t half =
                    dtype == "F16" ? half_bits(value) : static_cast<std::uint16_t>(bits >> 16);
                if (dtype == "F32") data.append(reinterpret_cast<const char*>(&bits), 4);
                if (dtype != "F32") data.append(reinterpret_cast<const char*>(&half), 2);
            }
        }
        json::array shape(tensor.shape.begin(), tensor.shape.end());
        header[hf_name(name)] = {
            {"dtype", dtype}, {"shape", shape}, {"data_offsets", json::array{begin, data.size()}}};
    }
    const std::string text = json::serialize(header);
    const std::uint64_t size = text.size();
    return std::string(reinterpret_cast<const char*>(&size), sizeof size) + text + data;
}

json::object config_of(const ModelConfig& c) {
    return {{"architectures", {"LlamaForCausalLM"}},
            {"model_type", "llama"},
            {"vocab_size", c.vocab_size},
            {"hidden_size", c.hidden},
            {"intermediate_size", c.ffn_hidden},
            {"num_hidden_layers", c.layer_count()},
            {"num_attention_heads", c.heads},
            {"num_key_value_heads", c.kv_heads},
            {"head_dim", c.head_dim},
            {"max_position_embeddings", c.context_length},
            {"rms_norm_eps", c.norm_eps},
            {"rope_theta", c.rope_theta},
            {"tie_word_embeddings", c.tied_embeddings},
            {"hidden_act", "silu"},
            {"rope_scaling", nullptr}};
}

json::object tokenizer_of(const VocabularySpec& v) {
    json::object vocabulary;
    json::array merges;
    json::array added;
    for (std::size_t id = 0; id < v.tokens.size(); ++id) {
        if (v.types[id] == TokenType::kControl)
            added.push_back({{"id", id}, {"content", v.tokens[id]}, {"special", true}});
        else
            vocabulary[v.tokens[id]] = id;
    }
    for (const auto& [left, right] : v.merges) merges.push_back(json::value(left + " " + right));
    return {{"added_tokens", added},
            {"normalizer", nullptr},
            {"pre_tokenizer", {{"type", "ByteLevel"}, {"add_prefix_space", false}}},
            {"model", {{"type", "BPE"}, {"vocab", vocabulary}, {"merges", merges}}}};
}

// A model in both forms.
class BothForms {
  public:
    BothForms(const TinyModelOptions& options, const std::string& dtype)
        : gguf_bytes_(coarse_gguf(folder_, options)), dtype_(dtype) {
        auto loaded = load_gguf(std::as_bytes(std::span(gguf_bytes_)), "model.gguf", {});
        EXPECT_TRUE(loaded.ok());
        gguf_ = std::move(*loaded);
        folder_.write("config.json", json::serialize(config_of(gguf_.config)));
        folder_.write("tokenizer.json", json::serialize(tokenizer_of(gguf_.vocabulary)));
        folder_.write("tokenizer_config.json",
                      json::serialize(json::value{{"bos_token", "<|endoftext|>"},
                                                  {"eos_token", {{"content", "<|im_end|>"}}},
                                                  {"chat_template", gguf_.chat_template}}));
        folder_.write("model.safetensors", part([](const std::string&) { return true; }));
    }

    template <typename Wanted>
    std::string part(Wanted wanted) const {
        const auto file = GgufFile::parse(std::as_bytes(std::span(gguf_bytes_)), "model.gguf");
        return safetensors_of(file->tensors(), dtype_,
                              static_cast<std::size_t>(gguf_.config.head_dim), wanted);
    }
    const ScratchFolder& folder() const { return folder_; }
    const Checkpoint& gguf() const { return gguf_; }

  private:
    ScratchFolder folder_;
    std::string gguf_bytes_;
    std::string dtype_;
    Checkpoint gguf_;
};

void expect_same(const QuantMatrix& a, const QuantMatrix& b) {
    EXPECT_EQ(a.rows, b.rows);
    EXPECT_EQ(a.cols, b.cols);
    EXPECT_EQ(a.q, b.q);
    EXPECT_EQ(a.scale, b.scale);
}

void expect_same_but_halved(const QuantMatrix& gguf, const QuantMatrix& hf, std::size_t head_dim) {
    ASSERT_EQ(gguf.rows, hf.rows);
    const auto cols = static_cast<std::size_t>(gguf.cols);
    for (std::size_t r = 0; r < gguf.scale.size(); ++r) {
        const std::size_t other = halves_row(r, head_dim);
        EXPECT_EQ(gguf.scale[r], hf.scale[other]) << r;
        EXPECT_EQ(std::memcmp(&gguf.q[r * cols], &hf.q[other * cols], cols), 0) << r;
    }
}

void expect_same_weights(const Checkpoint& gguf, const Checkpoint& hf) {
    const auto head_dim = static_cast<std::size_t>(gguf.config.head_dim);
    expect_same(gguf.weights.embedding, hf.weights.embedding);
    expect_same(gguf.weights.lm_head, hf.weights.lm_head);
    EXPECT_EQ(gguf.weights.final_norm, hf.weights.final_norm);
    ASSERT_EQ(gguf.weights.layers.size(), hf.weights.layers.size());
    for (std::size_t i = 0; i < gguf.weights.layers.size(); ++i) {
        const LayerWeights& a = gguf.weights.layers[i];
        const LayerWeights& b = hf.weights.layers[i];
        EXPECT_EQ(a.attention_norm, b.attention_norm);
        EXPECT_EQ(a.ffn_norm, b.ffn_norm);
        expect_same_but_halved(a.wq, b.wq, head_dim);
        expect_same_but_halved(a.wk, b.wk, head_dim);
        expect_same(a.wv, b.wv);
        expect_same(a.wo, b.wo);
        expect_same(a.gate, b.gate);
        expect_same(a.up, b.up);
        expect_same(a.down, b.down);
    }
}

class HfModel : public testing::TestWithParam<const char*> {};

TEST_P(HfModel, AgreesWithGguf) {
    const BothForms both({.seed = 3, .layers = 2, .kv_heads = 2, .tied_embeddings = false},
                         GetParam());
    const auto loaded = load_checkpoint(both.folder().path());
    ASSERT_TRUE(loaded.ok()) << loaded.error().message;
    expect_same_weights(both.gguf(), *loaded);

    const ModelConfig& c = loaded->config;
    EXPECT_EQ(c.rope_style, RopeStyle::kHalves);
    EXPECT_EQ(c.vocab_size, 384);
    EXPECT_EQ(c.kv_heads, 2);
    EXPECT_EQ(c.norm_eps, 1e-5f);
    EXPECT_FALSE(c.tied_embeddings);
    const VocabularySpec& a = both.gguf().vocabulary;
    const VocabularySpec& b = loaded->vocabulary;
    EXPECT_EQ(b.kind, VocabularyKind::kByteLevelBpe);
    EXPECT_EQ(b.pre_tokenizer, "gpt-2");
    EXPECT_EQ(a.tokens, b.tokens);
    EXPECT_EQ(a.types, b.types);
    EXPECT_EQ(a.merges, b.merges);
    EXPECT_EQ(a.bos, b.bos);
    EXPECT_EQ(a.eos, b.eos);
    EXPECT_EQ(a.end_of_turn, b.end_of_turn);
    EXPECT_EQ(a.add_bos, b.add_bos);
    EXPECT_EQ(loaded->chat_template, both.gguf().chat_template);
    EXPECT_NE(loaded->fingerprint, both.gguf().fingerprint) << "RoPE's layout differs";

    const auto metadata = load_checkpoint(both.folder().path(), {.weights = false});
    ASSERT_TRUE(metadata.ok()) << metadata.error().message;
    EXPECT_TRUE(metadata->weights.layers.empty());
}
INSTANTIATE_TEST_SUITE_P(Types, HfModel, testing::Values("F32", "F16", "BF16"));

TEST(HfFolder, TiedAndSharded) {
    const BothForms both({.layers = 2}, "BF16");
    both.folder().remove("model.safetensors");
    const auto first = [](const std::string& name) { return name.rfind("blk.0.", 0) == 0; };
    const auto rest = [&](const std::string& name) { return !first(name); };
    both.folder().write("one.safetensors", both.part(first));
    both.folder().write("two.safetensors", both.part(rest));
    both.folder().write("model.safetensors.index.json",
                        R"({"weight_map":{"x":"one.safetensors","y":"two.safetensors"}})");
    const auto loaded = load_checkpoint(both.folder().path());
    ASSERT_TRUE(loaded.ok()) << loaded.error().message;
    EXPECT_TRUE(loaded->config.tied_embeddings);
    expect_same_weights(both.gguf(), *loaded);
}

TEST(HfFolder, ErrorsNameFileAndTensor) {
    const BothForms both({.layers = 2}, "F32");
    const ScratchFolder& folder = both.folder();
    const auto message = [&] {
        const auto loaded = load_checkpoint(folder.path());
        return loaded.ok() ? "loaded" : loaded.error().message;
    };
    EXPECT_EQ(message(), "loaded");

    const std::string whole = both.part([](const std::string&) { return true; });
    folder.write("model.safetensors",
                 both.part([](const std::string& n) { return n != "blk.1.ffn_up.weight"; }));
    EXPECT_EQ(message(), folder.path() + ": tensor 'model.layers.1.mlp.up_proj.weight' is missing");
    folder.write("model.safetensors", whole.substr(0, whole.size() - 1));
    EXPECT_NE(message().find("model.safetensors: truncated"), std::string::npos);
    folder.write("model.safetensors", whole);

    json::object config = config_of(both.gguf().config);
    config["intermediate_size"] = 200;
    folder.write("config.json", json::serialize(config));
    EXPECT_NE(message().find("mlp.gate_proj.weight' has shape [192, 64], the header calls for "
                             "[200, 64]"),
              std::string::npos)
        << message();
    config["intermediate_size"] = 0;
    folder.write("config.json", json::serialize(config));
    EXPECT_EQ(message(), folder.file("config.json") + ": ffn_hidden is 0, must be at least 1");
    folder.write("config.json", "{");
    EXPECT_NE(message().find("config.json: not valid JSON"), std::string::npos) << message();
    folder.write("config.json", json::serialize(config_of(both.gguf().config)));
    folder.remove("tokenizer.json");
    EXPECT_NE(message().find("tokenizer.json: cannot open"), std::string::npos) << message();
}

TEST(HfConfig, RopeScalingsAndWindows) {
    const auto read = [](const char* text) {
        return read_hf_config(json::parse(text).as_object(), "config.json");
    };
    const auto llama3 = read(R"({"architectures":["LlamaForCausalLM"],"vocab_size":9,
        "hidden_size":64,"intermediate_size":96,"num_attention_heads":4,"num_hidden_layers":2,
        "rope_theta":500000.0,"head_dim":null,"rope_scaling":{"rope_type":"llama3","factor":32.0,
        "low_freq_factor":1.0,"high_freq_factor":4.0,"original_max_position_embeddings":8192}})");
    ASSERT_TRUE(llama3.ok()) << llama3.error().message;
    EXPECT_EQ(llama3->rope_scaling.factor, 32.0f);
    EXPECT_EQ(llama3->rope_scaling.original_context, 8192);
    EXPECT_EQ(llama3->head_dim, 16);
    EXPECT_EQ(llama3->kv_heads, 4);
    EXPECT_EQ(llama3->context_length, 2048) << "the family's default";
    EXPECT_EQ(llama3->norm_eps, 1e-6f);

    const auto linear = read(R"({"model_type":"llama","vocab_size":9,"hidden_size":64,
        "intermediate_size":96,"num_attention_heads":4,"num_hidden_layers":2,
        "rope_parameters":{"rope_theta":20000,"type":"linear","factor":2}})");
    ASSERT_TRUE(linear.ok()) << linear.error().message;
    EXPECT_EQ(linear->rope_theta, 20000.0f);
    EXPECT_EQ(linear->rope_freq_factors, std::vector<float>(8, 2.0f));

    const auto mistral = read(R"({"architectures":["MistralForCausalLM"],"vocab_size":9,
        "hidden_size":64,"intermediate_size":96,"num_attention_heads":8,"num_hidden_layers":2,
        "sliding_window":4096})");
    ASSERT_TRUE(mistral.ok()) << mistral.error().message;
    EXPECT_EQ(mistral->layers[1].window, 4096);
    EXPECT_EQ(mistral->kv_heads, 8);
}

TEST(HfConfig, RefusesWhatItCannotRun) {
    const std::pair<const char*, const char*> cases[] = {
        {R"({"architectures":["MambaForCausalLM"]})",
         "'MambaForCausalLM' (supported: LlamaForCausalLM, MistralForCausalLM, Qwen2ForCausalLM, "
         "Qwen3ForCausalLM, Gemma2ForCausalLM, Gemma3ForCausalLM, Phi3ForCausalLM)"},
        {R"({"rope_scaling":{"type":"yarn"}})", "key 'rope_scaling' is of type 'yarn'"},
        {R"({"hidden_act":"gelu"})", "key 'hidden_act'"},
        {R"({"quantization_config":{}})", "key 'quantization_config'"},
    };
    for (const auto& [text, message] : cases) {
        json::object config = json::parse(R"({"model_type":"llama","vocab_size":9,
            "hidden_size":64,"intermediate_size":96,"num_attention_heads":4,
            "num_hidden_layers":2})")
                                  .as_object();
        ASSERT_TRUE(read_hf_config(config, "config.json").ok());
        const json::value change = json::parse(text);
        for (const auto& entry : change.get_object()) config[entry.key()] = entry.value();
        const auto read = read_hf_config(config, "config.json");
        ASSERT_FALSE(read.ok()) << text;
        EXPECT_EQ(read.error().code, ErrorCode::kUnsupported) << read.error().message;
        EXPECT_NE(read.error().message.find(message), std::string::npos) << read.error().message;
    }
    const auto missing = read_hf_config(
        json::parse(R"({"model_type":"llama","vocab_size":9})").as_object(), "config.json");
    EXPECT_EQ(missing.error().message, "config.json: key 'hidden_size' is missing");
}

}  // namespace
}  // namespace hearth::engine
